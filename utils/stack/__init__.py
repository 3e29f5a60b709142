"""Chainer on today's stack: `from utils.stack import F, L, chainer`, never `import chainer`."""

from utils.stack import compat, onednn

chainer = compat.mended_chainer()
onednn.install(chainer)
F, L = chainer.functions, chainer.links

__all__ = ["F", "L", "chainer"]
