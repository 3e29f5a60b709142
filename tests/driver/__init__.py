"""A CUDA driver for tests: CuPy itself runs on it where no GPU is.

    python -m tests.driver -m pytest -m gpu tests/test_gpu.py
    python -m tests.driver --cudnn train.py -g 0 ...

CuPy's wheel is the one that a GPU takes. Behind it are, in C++, CUDA's runtime and driver, NVRTC,
and of cuBLAS and cuRAND what the networks use. Kernels are compiled from their own source by g++;
work on streams, in graphs is done as late as CUDA may do it (or, with --order=SEED, in an order by
chance), so that whoever does not wait for it finds NaN. What a capture cannot hold breaks it, as
CUDA has it. With --cudnn NumPy stands in for cuDNN; else there is none.

What it cannot tell: speed; what the hardware does otherwise than the documents say; what goes wrong
only where threads work at the same time (blocks run one after the other, the threads of each take
turns); whether an address is aligned as its type needs; whether NVRTC takes the sources
(test_kernels.py asks it).
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
SOURCES = sorted(path for path in HERE.iterdir() if path.suffix in (".cpp", ".h"))
HEADERS = "cuda_runtime.h", "cuda_fp16.h"  # that CuPy looks for or includes: empty
COMPILE = "g++ -std=c++17 -O1 -w -fpermissive -ffp-contract=off -fPIC"  # a kernel
LIBRARIES = "cudart", "nvrtc", "cublas", "cublasLt"
RUNTIME = {12: 12090, 13: 13000}  # the version of CUDA to pass for, by that of the wheel


def missing():
    """What the driver lacks here; empty where it has all."""
    if not importlib.util.find_spec("cupy"):
        return "no CuPy"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "threads of a block are written for Linux on x86-64"
    return "" if shutil.which("g++") else "no g++ for the kernels"


def cuda_major():
    """The version of CUDA that the installed CuPy is for."""
    (name,) = importlib.metadata.packages_distributions()["cupy"]
    return int(re.search(r"cuda(\d+)x", name)[1])


def build():
    """Compile the driver, unless an earlier run has; returns the folder with its libraries."""
    major, key = cuda_major(), hashlib.sha256()
    for path in (*SOURCES, Path(__file__)):
        key.update(path.read_bytes())
    folder = CACHE / f"driver-{major}-{key.hexdigest()[:16]}"
    if folder.exists():
        return folder
    CACHE.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=CACHE))
    (temporary / "include").mkdir()
    for header in HEADERS:
        (temporary / "include" / header).touch()
    header = shutil.copy(HERE / "kernel.h", temporary)
    subprocess.run([*COMPILE.split(), "-x", "c++-header", header], check=True)
    versions = temporary / "versions"  # of symbols, as CuPy's modules ask for them
    versions.write_text(f"libcublas.so.{major} {{ cublas*; }}; libcurand.so.10 {{ curand*; }};\n")
    command = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", f"-Wl,--version-script={versions}"]
    sources = [path for path in SOURCES if path.suffix == ".cpp"]
    output = ["-o", temporary / "libcuda.so.1", "-ldl", "-lpthread"]
    subprocess.run([*command, *sources, *output], check=True)
    for name in (*(f"{one}.so.{major}" for one in LIBRARIES), "curand.so.10"):
        (temporary / f"lib{name}").symlink_to("libcuda.so.1")
    try:
        temporary.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(temporary)
    return folder


def environment():
    """The environment of a process that runs on the driver."""
    folder = build()
    places = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return os.environ | {
        "LD_LIBRARY_PATH": ":".join(places),
        "CUDA_PATH": str(folder),
        "CUPY_CACHE_DIR": str(folder / "cache"),
        "CUPY_ACCELERATORS": "",  # else it has kernels in machine code
        "DRIVER_FOLDER": str(folder),
        "DRIVER_COMPILE": COMPILE,
        "DRIVER_CUDA": str(RUNTIME[cuda_major()]),
    }


@functools.cache
def library():
    """The driver, in a process that has its environment; None in any other."""
    if "DRIVER_FOLDER" not in os.environ:
        return None
    loaded = ctypes.CDLL("libcuda.so.1")
    loaded.driver_waits.restype = ctypes.c_char_p
    return loaded


def take_over():
    """Have this process's CuPy call the driver."""
    sys.setdlopenflags(os.RTLD_LAZY)  # functions that the libraries lack are missed if called
    for name in "cudart", "nvrtc":  # before CuPy looks for others
        ctypes.CDLL(f"lib{name}.so.{cuda_major()}")
    from cupy_backends.cuda.api import runtime

    taken = library().driver_take_over(runtime.__file__.encode())
    assert taken > 0, f"{runtime.__file__} holds no CUDA runtime"


def waits():
    """The calls, by CUDA's names, that have waited for the device since the last question."""
    return library().driver_waits().decode().split()
