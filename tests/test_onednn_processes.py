"""oneDNN in several threads, in several processes, and the memory it keeps."""

import multiprocessing
import platform
import resource
import signal
import threading

import numpy as np
import pytest

from tests.arrays import random
from tests.convolutions import needs_onednn
from tests.layers import images, links, loss
from tests.processes import run_python
from utils.stack import F, chainer, dnnl, layers, onednn

forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@needs_onednn
def test_first_calls_from_two_threads_at_once():
    program = (
        "import threading\n"
        "import numpy as np\n"
        "from utils.stack import F\n"
        "start = threading.Barrier(4)\n"
        "def work():\n"
        "    start.wait()\n"
        "    for size in range(3, 9):\n"
        "        x, w = np.ones((1, 2, size, size), 'f'), np.ones((2, 2, 3, 3), 'f')\n"
        "        assert (F.convolution_2d(x, w).array == 18).all()\n"
        "    print('right\\n', end='')\n"
        "for _ in range(4): threading.Thread(target=work).start()\n"
    )
    assert run_python("-c", program).stdout.split() == 4 * ["right"]


@needs_onednn
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_memory_of_results_is_kept():
    """A result of 32 MiB has 8,192 pages, each of which would be a fault if it came anew."""
    x, w = np.zeros((1, 3, 1024, 1024), np.float32), np.zeros((8, 3, 3, 3), np.float32)
    F.convolution_2d(x, w, pad=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        F.convolution_2d(x, w, pad=1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2000


@needs_onednn
def test_threads_at_once_with_blas_between():
    a = random((300, 300))
    product = a @ a
    jobs = [
        (random((4, taken, 12, 12)), random((made, taken, 3, 3), 1))
        for taken, made in [(3, 64), (64, 64), (64, 3), (15, 32)]
    ]
    truth = [F.convolution_2d(x, w, pad=1).array for x, w in jobs]
    wrong = []

    def work(start):
        for turn in range(60):
            i = (start + turn) % len(jobs)
            if not np.array_equal(F.convolution_2d(*jobs[i], pad=1).array, truth[i]):
                wrong.append(i)
            if not np.allclose(a @ a, product, rtol=1e-4, atol=1e-3):
                wrong.append("BLAS")

    threads = [threading.Thread(target=work, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def convolve(case):
    """What a process answers: the outputs, with why oneDNN did not compute them."""
    return F.convolution_2d(*case, pad=1).array, onednn._obstacle


@needs_onednn
@forks
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_process(method):
    case = random((2, 64, 12, 12)), random((64, 64, 3, 3), 1)
    truth, _ = convolve(case)  # starts the threads that a fork does not get
    with multiprocessing.get_context(method).Pool(1) as pool:
        outputs, obstacle = pool.apply_async(convolve, (case,)).get(timeout=60)
    np.testing.assert_allclose(outputs, truth, rtol=0, atol=1e-4)
    assert bool(obstacle) == (method == "fork")
    assert np.array_equal(convolve(case)[0], truth)  # the parent goes on as before


@needs_onednn
@forks
@pytest.mark.parametrize("linear", [False, True])
def test_a_child_process_goes_back_through_what_its_parent_computed(linear):
    x, made = images(2, np.copy), links(np.copy, linear=linear)
    y = loss(layers.as_one_node(F.reshape(x, (2, -1)) if linear else x, made, 2))
    child = multiprocessing.get_context("fork").Process(target=chainer.grad, args=([y], [x]))
    child.start()
    child.join(60)
    child.kill()  # one that waits for ever has blocked all other signals
    assert child.exitcode == 0


class Convolved(chainer.dataset.DatasetMixin):
    """A data set whose every example is a convolution's output."""

    def __len__(self):
        return 6

    def get_example(self, i):
        return convolve((random((1, 8, 6, 6), i), random((8, 8, 3, 3), 1)))[0]


@needs_onednn
@forks
def test_multiprocess_iterator():
    truth = Convolved()[:]
    iterator = chainer.iterators.MultiprocessIterator(
        Convolved(), 3, repeat=False, shuffle=False, n_processes=2
    )
    with iterator:
        found = [example for batch in iterator for example in batch]
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4)


@needs_onednn
def test_signals_wait_while_a_kernel_runs(monkeypatch):
    """In every thread of it: those that the library starts inherit what is blocked."""
    blocked, execute = [], dnnl.library().primitive_execute

    def watched(*arguments):
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return execute(*arguments)

    monkeypatch.setattr(dnnl.library(), "primitive_execute", watched)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        F.linear(random((4, 8)), random((5, 8)))
        after = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPROF} <= blocked[0]
    assert after == before | {signal.SIGUSR1}


@needs_onednn
def test_signals_wait_for_the_end_of_the_outer_context():
    def blocked():
        return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with pytest.raises(ZeroDivisionError), dnnl.no_signals:
        with dnnl.no_signals:
            assert blocked()
        assert blocked()
        1 / 0  # noqa: B018
    assert not blocked()


@needs_onednn
def test_signals_do_no_harm():
    """They did: a kernel for large products lets its stack pointer point to the heap."""
    program = (
        "import signal, time\n"
        "import numpy as np\n"
        "from utils.stack import F\n"
        "x, w = np.ones((256, 1024), 'f'), np.ones((512, 1024), 'f')\n"
        # One of the gaps between them is where the kernel will work.
        "kept = [np.full(2**16 + 64 * k, 7, np.uint8) for k in range(640)]\n"
        "del kept[::2]\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 5e-4, 5e-4)\n"
        "end = time.monotonic() + 2\n"
        "while time.monotonic() < end: assert (F.linear(x, w).array == 1024).all()\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print(all((array == 7).all() for array in kept))\n"
    )
    done = run_python("-c", program)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
