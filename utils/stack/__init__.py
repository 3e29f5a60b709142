"""Chainer on today's stack: `from utils.stack import F, L, chainer`, never `import chainer`.

compat     patches Chainer for today's Python, NumPy and CuPy
providers  puts a library into its convolutions and linear layers, which geometry describes:
  onednn   on the CPU: dnnl is oneDNN's C interface; direct has its own convolutions, winograd those
           by minimal filtering, of tiles and products
  cudnn    on a GPU: cudnn_plans is cuDNN's C interface, cudnn_engines chooses what computes a
           shape, casts makes arrays with channels last, gpu_relu takes ReLUs of these
layers     has it compute several in a row: cpu_layers node for node the same, in gpu_layers arrays
           stay as cuDNN wants them from one to the next
branches   has a GPU compute several networks at the same time
precision  chooses the type in which both multiply
kernels    tells whether own CUDA kernels are used
Adam is quicker by adam and gpu_adam; on a GPU gpu_norm has the norm of gradients, gpu_join joins
arrays in one launch, gpu_neutral skips adding 0 and multiplying by 1; tables pass many arrays to
one launch.
On the CPU nodes, lstm, pooling, sums have quicker ways, or gradients, than Chainer's own; slices
have a quicker gradient everywhere.
"""

from utils.stack import (
    adam,
    compat,
    cudnn,
    gpu_adam,
    gpu_join,
    gpu_neutral,
    gpu_norm,
    lstm,
    nodes,
    onednn,
    pooling,
    slices,
    sums,
)

chainer = compat.patched_chainer()
chainer.global_config.dtype = chainer.get_dtype("float32")  # whatever CHAINER_DTYPE asks for
for part in (adam, lstm, nodes, pooling, slices, sums, onednn):
    part.install(chainer)
for part in (gpu_adam, gpu_join, gpu_neutral, gpu_norm, cudnn):
    part.install(chainer)
F, L = chainer.functions, chainer.links

__all__ = ["F", "L", "chainer"]
