"""Chainer on today's stack: `from utils.stack import F, L, chainer`, never `import chainer`."""

from utils.stack import adam, compat, cudnn, gpu_adam, onednn

chainer = compat.mended_chainer()
adam.install(chainer)
gpu_adam.install(chainer)
onednn.install(chainer)
cudnn.install(chainer)
F, L = chainer.functions, chainer.links

__all__ = ["F", "L", "chainer"]
