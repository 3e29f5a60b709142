"""Chainer on today's stack: `from utils.stack import F, L, chainer`, never `import chainer`."""

from utils.stack import compat

chainer = compat.mended_chainer()
F, L = chainer.functions, chainer.links

__all__ = ["F", "L", "chainer"]
