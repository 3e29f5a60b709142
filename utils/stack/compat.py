"""Chainer 7.8.1 patched for NumPy 2, for Python 3.10 to 3.14, for CuPy 13 or 14 or none."""

import contextlib
import ctypes
import functools
import io
import multiprocessing
import sys
import threading
import types
import warnings

import numpy as np


def patched_chainer():
    """Return the module `chainer` with every patch in place, whatever was imported before."""
    for patch in BEFORE_IMPORT:
        patch()
    with no_cupy_without_driver(), no_cudnn_notices():
        import chainer
    for patch in AFTER_IMPORT:
        patch(chainer)
    return chainer


# What `import chainer` itself needs


def forget_half_import():
    """A bare `import chainer` fails on NumPy 2, but leaves submodules of the failed package."""
    if "chainer" not in sys.modules:
        for name in [name for name in sys.modules if name.startswith("chainer.")]:
            del sys.modules[name]


def restore_numpy_names():
    """functions/array/as_strided.py:10, 252: NumPy 2.0 removed `sctypes`.
    functions/array/resize_images.py:179-196: NumPy 1.24 removed `float`.
    """
    names = {
        "float": float,
        "sctypes": {
            "int": [np.int8, np.int16, np.int32, np.int64],
            "float": [np.float16, np.float32, np.float64],
        },
    }
    for name, value in names.items():
        if not hasattr(np, name):
            setattr(np, name, value)


def skip_environment_check():
    """_environment_check.py:6 imports numpy.distutils, which is gone from Python 3.12 on, only
    to warn of old Apple libraries or of a CuPy newer than 7.
    """
    check = types.ModuleType("chainer._environment_check")
    check.check = lambda: None
    sys.modules.setdefault(check.__name__, check)


def stand_in_for_pkg_resources():
    """testing/helper.py:6, behind chainer.gradient_check: setuptools 80 warns of pkg_resources,
    82 removed it. Chainer asks it only whether a test's optional packages are there. Whoever else
    imports it later gets the stand-in, too, even where there is a real one.
    """
    pkg_resources = types.ModuleType("pkg_resources")
    pkg_resources.ResolutionError = type("ResolutionError", (Exception,), {})

    class WorkingSet:
        def require(self, *requirements):
            raise pkg_resources.ResolutionError(*requirements)

    pkg_resources.WorkingSet = WorkingSet
    sys.modules.setdefault(pkg_resources.__name__, pkg_resources)


@contextlib.contextmanager
def no_cupy_without_driver():
    """backends/cuda.py:57 imports CuPy, then calls it available, even without an NVIDIA driver."""

    def find_spec(name, path=None, target=None):
        if name == "cupy":
            raise ImportError("this machine has no NVIDIA driver")

    if "cupy" in sys.modules or has_nvidia_driver():
        yield
        return
    finder = types.SimpleNamespace(find_spec=find_spec)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def has_nvidia_driver():
    """Whether the driver's own library loads; needs no CUDA library, starts no context."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def no_cudnn_notices():
    """Chainer (backends/cuda.py:154) with CuPy (_environment.py) urge every GPU user to install
    cuDNN 8, which CuPy 14 dropped for good, or NCCL, which only several GPUs together use.
    """
    with warnings.catch_warnings():
        for notice in (r"cuDNN is not enabled", r"\s*(cudnn|nccl) library could not be loaded"):
            warnings.filterwarnings("ignore", notice, UserWarning)
        yield


# What Chainer does once it is imported


def refuse_pickles(chainer):
    """serializers/npz.py:21 lets NumPy unpickle what a snapshot holds, which can run any code.

    Chainer saves None for an array that does not exist yet; that is recognised by its bytes.
    """
    chainer.serializers.npz._allow_pickle_kwargs["allow_pickle"] = False
    deserializer = chainer.serializers.npz.NpzDeserializer
    read = deserializer.__call__
    file = io.BytesIO()
    np.save(file, None)
    none = file.getvalue()

    @functools.wraps(read)
    def read_array_or_none(self, key, value):
        try:
            return read(self, key, value)
        except ValueError:
            with self.npz.zip.open(f"{self.path}{key.lstrip('/')}.npy") as member:
                if member.read(len(none) + 1) == none:
                    return None
            raise

    deserializer.__call__ = read_array_or_none


def patch_categorical(chainer):
    """distributions/categorical.py:74, 76: since NumPy 2.0 `meshgrid` returns a tuple, no list."""

    def log_prob(self, x):
        places = np.indices(self.batch_shape)
        return self.log_p[(*places, chainer.as_array(x).astype(np.int32))]

    chainer.distributions.Categorical.log_prob = log_prob


def patch_pad_sequence(chainer):
    """functions/array/pad_sequence.py:55: NumPy 2 (NEP 50) refuses -1 in an unsigned array."""
    function = chainer.functions.array.pad_sequence.PadSequence
    forward = function.forward

    @functools.wraps(forward)
    def forward_with_wrapped_padding(self, xs):
        if xs[0].dtype.kind == "u":
            self.padding = np.asarray(self.padding).astype(xs[0].dtype)[()]
        return forward(self, xs)

    function.forward = forward_with_wrapped_padding


def patch_deconvolution(chainer):
    """functions/connection/deconvolution_2d.py:340 passes Variables where shapes are wanted: no
    gradient of W alone on the CPU, whatever the NumPy.
    """
    function = chainer.functions.connection.deconvolution_2d.Deconvolution2DFunction
    set_cover_all = function._set_cover_all

    @functools.wraps(set_cover_all)
    def set_cover_all_of_shapes(self, x, w):
        set_cover_all(self, getattr(x, "shape", x), getattr(w, "shape", w))

    function._set_cover_all = set_cover_all_of_shapes


def patch_scatter_add(chainer):
    """functions/array/scatter_add.py:52, others: CuPy 14 warns of cupyx.scatter_add."""
    cuda = chainer.backends.cuda
    if cuda.available:
        cuda.cupyx = replaced(cuda.cupyx, scatter_add=cuda.cupy.add.at)


def patch_multiprocess_iterator(chainer):
    """iterators/multiprocess_iterator.py:475: Python 3.10 deprecated `Thread.setDaemon`. 464: its
    workers, where they are not forked (macOS, Python 3.14), would import Chainer unpatched.
    """

    class Thread(threading.Thread):
        def setDaemon(self, daemon):
            self.daemon = daemon

    def patched_pool(initializer, initargs, **options):
        return multiprocessing.Pool(
            initializer=begin_patched, initargs=(initializer, *initargs), **options
        )

    module = chainer.iterators.multiprocess_iterator
    module.threading = replaced(threading, Thread=Thread)
    module.multiprocessing = replaced(multiprocessing, Pool=patched_pool)


def begin_patched(initializer, *arguments):
    """The first that a worker process unpickles: to do so it imports utils.stack."""
    initializer(*arguments)


def replaced(module, **names):
    """A namespace like `module` in which some names mean something else."""
    return types.SimpleNamespace(**vars(module) | names)


BEFORE_IMPORT = (
    forget_half_import,
    restore_numpy_names,
    skip_environment_check,
    stand_in_for_pkg_resources,
)
AFTER_IMPORT = (
    refuse_pickles,
    patch_categorical,
    patch_pad_sequence,
    patch_deconvolution,
    patch_scatter_add,
    patch_multiprocess_iterator,
)
