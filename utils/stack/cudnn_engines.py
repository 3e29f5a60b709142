"""Which of cuDNN's engines computes a shape: the first that runs, with autotune the fastest.

The choice follows Chainer's configuration: use_cudnn_tensor_core, cudnn_deterministic, autotune.
Only the first call for a shape waits for the device: later ones can be captured in a CUDA graph.
"""

import collections
import functools
import itertools
import logging
import threading

from utils.stack import cudnn_plans, kernels, providers
from utils.stack.providers import Unsuitable

WORKSPACE = 2**28  # bytes that an engine may need beside its arrays; set it before the first use
TRIED, TIMED = 8, 3  # engines that autotune tries, runs of each that it times
SEARCHES = 3  # for a shape, while memory is too short for some engine; no more than WARM_UPS
# Python takes longer to launch a small kernel than the GPU to run it. So that launching is not
# timed, the runs queue up behind this kernel, which waits a tenth of a millisecond for each.
CYCLES = 200_000
IDLE = r"""
extern "C" __global__ void idle(long long cycles) {
  for (long long start = clock64(); clock64() - start < cycles;);
}
"""
FAILURES = RuntimeError, MemoryError  # raised by an engine; cuDNN's and CUDA's are RuntimeErrors
OPERANDS = "images", "weights", "outputs"  # in the order of a plan's tensors


class Thread(threading.local):
    """What each thread has for itself, since cuDNN's objects must not be shared.

    handles: {device: Handle, or why there is none}. plans: {(device, what it is for): Plan, or the
    arguments of Unsuitable if there is none}. searches: {the same: how many have looked for one}.
    """

    def __init__(self):
        self.handles, self.plans, self.searches = {}, {}, collections.Counter()


_thread = Thread()
_kept = []  # the plans of all threads: CUDA graphs may run their kernels after the thread has ended


def compute(direction, geometry, arrays, last=False):
    """Have cuDNN compute the operand that the direction writes, into its array.

    arrays: {name in OPERANDS or "bias": array}. last: whether channels are last in memory. Raises
    Unsuitable or cudnn_plans.Error for what cuDNN cannot do.
    """
    cupy = kernels.get_cupy()
    device = cupy.cuda.runtime.getDevice()
    handle = _handle(device)
    handle.follow(cupy.cuda.get_current_stream().ptr)
    addresses = [arrays[name].data.ptr for name in (*OPERANDS, "bias") if name in arrays]

    without, autotune = unwanted(geometry.dtype), _config().autotune
    search = direction, geometry, "bias" in arrays, last, without, autotune
    key = device, *search
    plan = _thread.plans.get(key)
    if isinstance(plan, cudnn_plans.Plan):
        try:
            return execute(plan, handle, addresses)
        except FAILURES as error:
            if kernels.capturing():  # not an obstacle for which another way could be captured
                raise RuntimeError(str(error)) from None
            if not isinstance(error, MemoryError):
                providers.log_once(logging.WARNING, f"an engine of cuDNN is given up: {error}")
            plan = None
    if plan is None:
        if kernels.capturing():  # trying engines waits for the GPU
            raise RuntimeError("no engine of cuDNN can be tried while a graph is captured")
        plan, short = _choose(handle, addresses, *search)
        _thread.searches[key] += 1
        found = isinstance(plan, cudnn_plans.Plan)
        if found:
            _kept.append(plan)
        settled = found and _thread.searches[key] >= SEARCHES
        if settled or not short:  # else there may be a better one the next time
            _thread.plans[key] = plan
    if isinstance(plan, tuple):
        raise Unsuitable(*plan)
    execute(plan, handle, addresses)


def _handle(device):
    """This thread's Handle of a device; Unsuitable if cuDNN could not be started there before."""
    if device not in _thread.handles:
        try:
            _thread.handles[device] = cudnn_plans.Handle()
        except cudnn_plans.Error as error:
            _thread.handles[device] = f"it does not start ({error})"
    handle = _thread.handles[device]
    if isinstance(handle, str):
        raise Unsuitable(logging.WARNING, handle)
    return handle


def execute(plan, handle, addresses):
    """Run a Plan on the arrays at these addresses, as `Plan.execute` takes them."""
    # Allocated from the pool in use, which may be that of a CUDA graph.
    workspace = kernels.get_cupy().cuda.alloc(plan.workspace)
    plan.execute(handle, addresses, workspace.ptr)


def _config():
    import chainer  # patched, by the time that a node computes

    return chainer.config


def unwanted(dtype):
    """Numerical properties ("notes") that an engine must not have under the present settings."""
    config = _config()
    notes = {cudnn_plans.DOWN_CONVERT, cudnn_plans.REDUCED_SUMS}
    if dtype == "float32" or config.use_cudnn_tensor_core == "never":
        notes.add(cudnn_plans.TENSOR_CORE)
    if config.cudnn_deterministic:
        notes.add(cudnn_plans.NONDETERMINISTIC)
    return frozenset(notes)


def _choose(handle, addresses, direction, geometry, bias, last, without, autotune):
    """(the Plan to use or Unsuitable's arguments, whether memory was too short for some engine).

    bias, last, without: as `bias`, `channels_last` and `without` of cudnn_plans.plans.
    """
    failures = []
    plans = cudnn_plans.plans(handle, direction, geometry, bias, last, without, WORKSPACE)
    working = (plan for plan in plans if _runs(plan, handle, addresses, failures))
    what = f"the {direction} of {geometry}"
    plan, obstacle = None, (logging.INFO, f"cuDNN has no engine for {what}")
    try:
        if autotune:
            plan = _fastest(working, handle, addresses, failures)
        else:
            plan = next(working, None)
    except cudnn_plans.Error as error:
        obstacle = logging.INFO, f"cuDNN has no engine for {what} ({error})"
    short = any(isinstance(failure, MemoryError) for failure in failures)
    if failures:
        why = "out of memory" if short else failures[-1]
        tried = f"({len(failures)} tried: {why})"
        obstacle = logging.WARNING, f"no engine of cuDNN runs for {what} {tried}"
    return plan or obstacle, short


def _runs(plan, handle, addresses, failures):
    """Whether a plan can be executed, which also loads its kernels; failures: gets the reason."""
    try:
        execute(plan, handle, addresses)
    except FAILURES as error:
        failures.append(error)
        return False
    return True


def _fastest(working, handle, addresses, failures):
    """The fastest of the first TRIED plans, timed on the device; None if there are none."""
    times = {}
    kernels.get_cupy().cuda.runtime.deviceSynchronize()  # other streams may still be at work
    for plan in itertools.islice(working, TRIED):
        try:
            times[plan] = milliseconds(functools.partial(execute, plan, handle, addresses), TIMED)
        except FAILURES as error:
            failures.append(error)
    return min(times, key=times.get, default=None)


def milliseconds(work, runs, cycles=CYCLES):
    """GPU time of work(), the mean of `runs`; cycles: of the GPU, that a launch takes at most."""
    cuda = kernels.get_cupy().cuda
    start, end = cuda.Event(), cuda.Event()
    idle(cycles * runs)
    start.record()
    for _ in range(runs):
        work()
    end.record()
    end.synchronize()
    return cuda.get_elapsed_time(start, end) / runs


def idle(cycles):
    """Keep the GPU waiting for so many cycles."""
    if kernels.usable():
        kernels.compiled(IDLE, "idle")((1,), (1,), (cycles,))
