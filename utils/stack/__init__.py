"""Chainer on today's stack: `from utils.stack import F, L, chainer`, never `import chainer`."""

from utils.stack import adam, compat, cudnn, gpu_adam, gpu_cross_entropy, onednn

chainer = compat.mended_chainer()
adam.install(chainer)
gpu_adam.install(chainer)
gpu_cross_entropy.install(chainer)
onednn.install(chainer)
cudnn.install(chainer)
F, L = chainer.functions, chainer.links

__all__ = ["F", "L", "chainer"]
