"""Our CUDA kernels compile, for each generation of GPUs, by the compiler that CuPy uses."""

import pytest

from utils import divergence, supply
from utils.stack import cudnn, gpu_adam, gpu_join

SOURCES = {"adam": gpu_adam.SOURCE, "judge": divergence.SOURCE, "gather": supply.GATHER}
SOURCES["idle"] = cudnn.IDLE
SOURCES |= {f"join {size}": gpu_join.source(size) for size in gpu_join.NUMBERS}


@pytest.fixture(scope="module")
def nvrtc():
    pytest.importorskip("cupy", reason="no CuPy")
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"no NVRTC: {error}")
    return nvrtc


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", SOURCES)
def test_compiles(nvrtc, name, architecture):
    program = nvrtc.createProgram(SOURCES[name], f"{name}.cu", [], [])
    try:
        nvrtc.compileProgram(program, ["--fmad=false", f"--gpu-architecture={architecture}"])
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


@pytest.mark.parametrize("module", [gpu_adam, gpu_join])
def test_the_addresses_of_a_launch_fit_among_its_arguments(module):
    assert module.Arrays.itemsize + 64 <= 4096
