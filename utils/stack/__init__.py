"""Chainer on today's stack: `from utils.stack import F, L, chainer`, never `import chainer`.

compat     patches Chainer for today's Python, NumPy and CuPy

Convolutions and linear layers
providers  replaces their code in Chainer by a library's; geometry describes a convolution
  onednn   on the CPU: dnnl is oneDNN's C interface, direct its own convolutions; winograd does
           minimal filtering, with tiles and products; unfolded makes one product of them
  cudnn    on a GPU: cudnn_plans is cuDNN's C interface, cudnn_engines chooses the engine for each
           shape, casts makes arrays with channels last, gpu_relu computes bias and ReLU of those
layers     makes several layers one function node, computed by cpu_layers or gpu_layers
recurrence makes a ConvLSTM's steps one function node on the CPU, windows a 3D convolution of two
           frames, gates what gates let through; fused_node is what all four share
branches   computes several networks at the same time on a GPU
precision  chooses the type in which layers multiply

Faster than Chainer's own
everywhere slices (gradients of indexing), settings (reads of chainer.config)
on the CPU nodes (overhead of function nodes), adam, lstm, pooling, sums
on a GPU   gpu_adam, gpu_norm (of gradients), gpu_join (concat, stack), gpu_neutral (adding 0,
           multiplying by 1); kernels compiles CUDA code, tables passes many arrays to one launch
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
    settings,
    slices,
    sums,
)

chainer = compat.patched_chainer()
chainer.global_config.dtype = chainer.get_dtype("float32")  # whatever CHAINER_DTYPE asks for
for part in (adam, lstm, nodes, pooling, settings, slices, sums, onednn):
    part.install(chainer)
for part in (gpu_adam, gpu_join, gpu_neutral, gpu_norm, cudnn):
    part.install(chainer)
F, L = chainer.functions, chainer.links

__all__ = ["F", "L", "chainer"]
