"""Rivals that do the same work, each in a process of its own, timed in turns."""

import multiprocessing
import os
import resource
import statistics
import sys
import time

from utils import record

THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"


def compete(rivals, arguments, repeats, threads, shortest=0):
    """Time rivals in turns, so that other load on the machine falls on all of them.

    Each turn begins with an untimed call, which refills the caches that the others have used. Then
    calls are repeated until `shortest` seconds have passed, and the times are their means.

    rivals: {name: module-level function that takes the arguments and returns the function to time}.
    Each has a process of its own: its peak memory is its own, no rival's threads spin on its cores.
    Returns {name: {"median_s", "fastest_s", "cpu_s", "peak_rss_mib"}}; cpu_s is the median of the
    processor time of all threads, which excludes waiting but includes spinning.
    """
    os.environ |= dict.fromkeys(THREADS, str(threads))
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name, prepare in rivals.items():
        pipes[name], theirs = context.Pipe()
        served = theirs, prepare, arguments, shortest
        context.Process(target=serve, args=served, daemon=True).start()
        theirs.close()  # so that the pipe breaks if the process does
        pipes[name].recv()  # one is ready before the next begins to prepare
    times = {name: [] for name in rivals}  # (on the wall's clock, of the processor)
    for _ in range(repeats):
        for name, pipe in pipes.items():
            pipe.send("again")
            times[name].append(pipe.recv())
    report = {}
    for name, pipe in pipes.items():
        pipe.send("peak")
        wall, cpu = zip(*times[name], strict=True)
        report[name] = {
            "median_s": round(statistics.median(wall), 6),
            "fastest_s": round(min(wall), 6),
            "cpu_s": round(statistics.median(cpu), 6),
            "peak_rss_mib": round(pipe.recv() / 2**20),
        }
    return report


def serve(pipe, prepare, arguments, shortest):
    """In the rival's process: do the work each time the pipe says so."""
    work = prepare(*arguments)
    work()
    pipe.send("ready")
    while pipe.recv() == "again":
        work()
        calls, wall, cpu = 0, time.perf_counter(), time.process_time()
        while not calls or time.perf_counter() - wall < shortest:
            work()
            calls += 1
        took = time.perf_counter() - wall, time.process_time() - cpu
        pipe.send([seconds / calls for seconds in took])
    unit = 1 if sys.platform == "darwin" else 1024
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def ratio(report, quantity, rival="pytorch"):
    """Ours over the rival's: below 1, ours needs less."""
    return round(report["ours"][quantity] / report[rival][quantity], 3)


def ratios(report, rival="pytorch"):
    """Ours over the rival's of wall time, processor time and memory; below 1 is better."""
    quantities = {"ratio": "median_s", "cpu_ratio": "cpu_s", "peak_rss_ratio": "peak_rss_mib"}
    return {name: ratio(report, quantity, rival) for name, quantity in quantities.items()}


def surroundings():
    """What else decides the speed: versions, how idle threads wait, the machine's load."""
    return {
        "versions": versions(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "load": round(os.getloadavg()[0], 1),
    }


def versions():
    """{package: its version} of what decides the speed, where it is installed."""
    return record.versions((*record.PACKAGES, "torch"))
