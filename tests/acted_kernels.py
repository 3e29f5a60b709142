"""CUDA C++ compiled for this machine's processor, for tests of kernels where no GPU is."""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CUDA = """
#include <cmath>
#include <cstddef>
#include <cstdint>
#define __global__
#define __device__
#define __forceinline__ inline
struct Place { unsigned x, y, z; };
static thread_local Place gridDim, blockDim, blockIdx, threadIdx;
using std::abs; using std::exp; using std::log; using std::log1p; using std::sqrt; using std::tanh;
using std::pow; using std::floor; using std::isnan; using std::isfinite; using std::signbit;
template <class A, class B> auto max(A a, B b) -> decltype(a + b) { return a > b ? a : b; }
template <class A, class B> auto min(A a, B b) -> decltype(a + b) { return a < b ? a : b; }
#define __restrict__
struct Indexer { ptrdiff_t n; ptrdiff_t size() const { return n; } };
template <class T> struct Raw {
  T* data; ptrdiff_t n;
  T& operator[](ptrdiff_t i) const { return data[i]; }
  ptrdiff_t size() const { return n; }
};
"""


@functools.cache
def compiled(source):
    """The library of a C++ source; those of earlier runs are kept."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    place = Path(tempfile.gettempdir()) / f"acted-cupy-{os.getuid()}"
    place.mkdir(exist_ok=True)
    path = place / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.so"
    if not path.exists():
        code, made = path.with_suffix(f".{os.getpid()}.cpp"), path.with_suffix(f".{os.getpid()}")
        code.write_text(source)
        flags = "-xc++", "-std=c++17", "-O2", "-w", "-shared", "-fPIC", "-ffp-contract=off"
        done = subprocess.run([compiler, *flags, code, "-o", made], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"kernel does not compile:\n{done.stderr}\n{source}")
        made.rename(path)
        code.unlink()
    return ctypes.CDLL(str(path))


@functools.cache
def threads(code, name):
    """A kernel whose threads do not meet, as a function that runs all, one after the other.

    It takes the numbers of blocks and of threads, then the arguments, each a NumPy array of size 1.
    """
    (found,) = re.findall(rf"void {name}\((.*?)\)\s*{{", code, re.S)
    params = [re.sub(r"\w+$", "", p.strip()).replace("__restrict__", "") for p in found.split(",")]
    values = ", ".join(f"*({kind}*)args[{k}]" for k, kind in enumerate(params))
    library = compiled(
        f"{CUDA}{code}\n"
        'extern "C" void launch(unsigned grid, unsigned block, void** args) {\n'
        "gridDim.x = grid; blockDim.x = block;\n"
        "for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)\n"
        "for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)\n"
        f"{name}({values});\n}}\n"
    )

    def run(grid, block, arguments):
        pointers = (ctypes.c_void_p * len(arguments))(*(a.ctypes.data for a in arguments))
        library.launch(ctypes.c_uint(grid), ctypes.c_uint(block), pointers)

    return run
