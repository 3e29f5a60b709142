"""Our CUDA kernels compile, for each generation of GPUs, by the compiler that CuPy uses."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from models import squash
from utils import divergence, gpu_losses, supply
from utils.stack import (
    casts,
    chainer,
    cudnn_engines,
    gpu_adam,
    gpu_join,
    gpu_norm,
    gpu_relu,
    kernels,
    tables,
)

SOURCES = {"adam": gpu_adam.SOURCE, "check_finite": divergence.SOURCE, "gather": supply.GATHER}
SOURCES["square sum"] = gpu_norm.SOURCE
SOURCES["idle"] = cudnn_engines.IDLE
ARGUMENTS = "float y, float gy, float least, float& slope"
SOURCES["squash"] = f"__device__ void squash({ARGUMENTS}) {{ {squash.SLOPE} }}"
SOURCES |= {f"join {size}": source for size, source in gpu_join.SOURCES.items()}
SOURCES |= {f"casts {dtype}": source for dtype, source in casts.SOURCES.items()}
SOURCES |= {f"ReLU {dtype}": source for dtype, source in gpu_relu.SOURCES.items()}


@pytest.fixture(scope="module")
def nvrtc():
    pytest.importorskip("cupy", reason="no CuPy")
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"no NVRTC, as of nvidia-cuda-nvrtc-cu12: {error}")
    return nvrtc


def compile_for(nvrtc, architecture, source, *options):
    program = nvrtc.createProgram(source, "kernel.cu", [], [])
    try:
        nvrtc.compileProgram(program, [*options, f"--gpu-architecture={architecture}"])
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


# Turing, the first that CUDA 13 knows, which has no bfloat16; Ampere, Hopper, Blackwell.
TURING, *OTHERS = "sm_75", "sm_80", "sm_90", "sm_120"
CASES = [(TURING, name) for name in SOURCES if "bfloat16" not in name]
CASES += product(OTHERS, SOURCES)


@pytest.mark.parametrize("architecture, name", CASES)
def test_compiles(nvrtc, architecture, name):
    compile_for(nvrtc, architecture, kernels.GRID + SOURCES[name], "--fmad=false")


LOSSES = {  # on NumPy's arrays, whose kernels are only looked at
    "lp": lambda x, t: gpu_losses.lp(x, t, 1.5),
    "gdl": lambda x, t: gpu_losses.gdl(x, t, 1.5),
    "bce": lambda x, t: gpu_losses.bce(x, 1),
}
CODES = {"f2": "float16", "f4": "float", "f8": "double"}
KINDS = {"int64": "long long"}


@pytest.mark.parametrize(
    "loss, dtype",
    [("lp", "f4"), ("lp", "f8"), ("gdl", "f4"), ("gdl", "f8")]
    + [("bce", dtype) for dtype in CODES],
)
def test_losses_compile(nvrtc, monkeypatch, loss, dtype):
    from cupy._core import core

    try:
        options = core.assemble_cupy_compiler_options(())
    except RuntimeError as error:
        if "CUDA headers" not in str(error):
            raise
        pytest.skip(f"no CUDA headers, as of nvidia-cuda-runtime-cu12: {error}")
    headers = [*core._cupy_header_list, "cupy/float16.cuh"]
    found = launched(monkeypatch, LOSSES[loss], dtype)
    assert len(found) == 2  # the loss, its gradient
    for body in found:
        source = "".join(f'#include "{header}"\n' for header in headers)
        source += f"typedef {CODES[dtype]} T;\n{body}"
        compile_for(nvrtc, "sm_90", source, *options)


class Array(np.ndarray):
    """Sums of a subclass are arrays, as CuPy's are."""


def launched(monkeypatch, loss, dtype):
    """The CUDA C++ of all kernels that a loss and its gradient launch, as CuPy wraps them."""
    found = []

    def elementwise(operands, made, operation, name, preamble=""):
        raw = [p.replace("raw T", "CArray<T, 1, 1, 1>") for p in operands.split(", ")]
        params = ", ".join(" ".join([KINDS.get(w, w) for w in p.split()]) for p in raw)
        result = made.split()[1]
        wrapped = f"__global__ void k({params}, CArray<T, 1, 1, 1> made, CIndexer<1> _ind) {{\n"
        wrapped += f"CUPY_FOR(i, _ind.size()) {{ T& {result} = made[i];\n{operation};\n}} }}"
        found.append(f"{preamble}\n{wrapped}")
        return lambda *args: args[0].view(Array)

    def reduce(operands, made, mapped, *others, reduce_type):
        elementwise(operands, made, f"{reduce_type} b = {mapped}; {made.split()[1]} = b", "")
        return lambda *args: np.sum(args[0], keepdims=True).reshape(())

    monkeypatch.setattr(gpu_losses, "cuda", SimpleNamespace(elementwise=elementwise, reduce=reduce))
    monkeypatch.setattr(kernels, "get_cupy", lambda: np)
    x, t = chainer.Variable(np.ones((2, 3, 4, 5), dtype)), np.ones((2, 3, 4, 5), dtype)
    chainer.grad([loss(x, t)], [x])
    return found


@pytest.mark.parametrize("table", [tables.Table, gpu_join.Arrays, casts.ARRAYS])
def test_the_addresses_of_a_launch_fit_among_its_arguments(table):
    assert table.itemsize + 64 <= 4096
