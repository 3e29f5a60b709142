"""Which of cuDNN's engines computes what: those that run are tried, the fastest is kept.

The choice follows Chainer's configuration: use_cudnn_tensor_core, cudnn_deterministic, autotune.
A shape seen before needs no wait for the device, so that a CUDA graph can capture what is done for
it.
"""

import functools
import itertools
import logging
import threading

from utils.stack import cudnn_plans, kernels, providers
from utils.stack.providers import Unsuitable

WORKSPACE = 2**28  # bytes that an engine may need beside its arrays; set it before the first use
TRIED, TIMED = 8, 3  # engines that autotune tries, runs of each that it times
# Python needs longer to launch a small kernel than the GPU to run it: what is to be timed queues up
# behind this one, a tenth of a millisecond for each run.
CYCLES = 200_000
IDLE = r"""
extern "C" __global__ void idle(long long cycles) {
  for (long long start = clock64(); clock64() - start < cycles;);
}
"""
FAILURES = RuntimeError, MemoryError  # of an engine: cuDNN's and CUDA's own are RuntimeErrors
OPERANDS = "images", "weights", "outputs"  # in the order of a plan's tensors


class Thread(threading.local):
    """What each thread has for itself, since cuDNN's objects are not to be shared.

    handles: by device.  plans: by what they are for; Unsuitable's arguments where there is none.
    """

    def __init__(self):
        self.handles, self.plans = {}, {}


_thread = Thread()
_kept = []  # the plans of all threads: a CUDA graph may run their kernels after the thread's end


def compute(direction, geometry, arrays, last=False):
    """Have cuDNN write one of the arrays, {an operand or "bias": array of its layout}.

    last: whether channels are neighbours in memory.  Raises Unsuitable, cudnn_plans.Error where
    cuDNN cannot.
    """
    cupy = kernels.get_cupy()
    device = cupy.cuda.runtime.getDevice()
    handle = _handle(device)
    handle.follow(cupy.cuda.get_current_stream().ptr)
    addresses = [arrays[name].data.ptr for name in (*OPERANDS, "bias") if name in arrays]

    without, autotune = unwanted(geometry.dtype), _config().autotune
    key = direction, geometry, "bias" in arrays, last, without, autotune
    plan = _thread.plans.get((device, *key))
    if isinstance(plan, cudnn_plans.Plan):
        try:
            return execute(plan, handle, addresses)
        except FAILURES as error:
            if cupy.cuda.get_current_stream().is_capturing():
                raise
            if not isinstance(error, MemoryError):
                providers.log_once(logging.WARNING, f"an engine of cuDNN is given up: {error}")
            plan = None
    if plan is None:
        if cupy.cuda.get_current_stream().is_capturing():  # which nobody may wait in
            raise RuntimeError("no engine of cuDNN can be tried while a graph is captured")
        plan, short = _choose(handle, addresses, *key)
        _kept.append(plan)
        if not short:  # else a better one may be had the next time
            _thread.plans[(device, *key)] = plan
    if isinstance(plan, tuple):
        raise Unsuitable(*plan)
    execute(plan, handle, addresses)


def _handle(device):
    """This thread's Handle of a device; Unsuitable if there is none, which is not tried again."""
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
    room = kernels.get_cupy().cuda.alloc(plan.workspace)  # of the pool in use: a graph can keep it
    plan.execute(handle, addresses, room.ptr)


def _config():
    import chainer  # patched, by the time that a node computes

    return chainer.config


def unwanted(dtype):
    """Properties that an engine must not have."""
    config = _config()
    notes = {cudnn_plans.DOWN_CONVERT, cudnn_plans.REDUCED_SUMS}
    if dtype == "float32" or config.use_cudnn_tensor_core == "never":
        notes.add(cudnn_plans.TENSOR_CORE)
    if config.cudnn_deterministic:
        notes.add(cudnn_plans.NONDETERMINISTIC)
    return frozenset(notes)


def _choose(handle, addresses, direction, geometry, bias, last, without, autotune):
    """The plan to use, or Unsuitable's arguments; whether another time may be better, since memory
    was short."""
    told = handle, addresses, (failures := [])
    found = cudnn_plans.plans(handle, direction, geometry, bias, last, without, WORKSPACE)
    working = (plan for plan in found if _runs(plan, *told))
    what = f"the {direction} of {geometry}"
    plan, obstacle = None, (logging.INFO, f"cuDNN has no engine for {what}")
    try:
        plan = _fastest(working, *told) if autotune else next(working, None)
    except cudnn_plans.Error as error:
        obstacle = logging.INFO, f"cuDNN has no engine for {what} ({error})"
    short = any(isinstance(failure, MemoryError) for failure in failures)
    if failures:
        why = "out of memory" if short else failures[-1]
        tried = f"({len(failures)} tried: {why})"
        obstacle = logging.WARNING, f"no engine of cuDNN runs for {what} {tried}"
    return plan or obstacle, short


def _runs(plan, handle, addresses, failures):
    """Whether cuDNN executes its own plan, which loads the kernels; `failures` say why not."""
    try:
        execute(plan, handle, addresses)
    except FAILURES as error:
        failures.append(error)
        return False
    return True


def _fastest(working, handle, addresses, failures):
    """Of the first few, by the clock of the device; None of none."""
    times = {}
    kernels.get_cupy().cuda.runtime.deviceSynchronize()  # other streams may still be at work
    for plan in itertools.islice(working, TRIED):
        try:
            times[plan] = milliseconds(functools.partial(execute, plan, handle, addresses), TIMED)
        except FAILURES as error:
            failures.append(error)
    return min(times, key=times.get, default=None)


def milliseconds(work, runs, cycles=CYCLES):
    """Of the GPU, for one of so many runs, each of which Python launches within so many cycles."""
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
    """Have the GPU wait."""
    if kernels.usable():
        kernels.compiled(IDLE, "idle")((1,), (1,), (cycles,))
