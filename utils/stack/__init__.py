"""Chainer on today's Python, NumPy and CuPy; import `chainer`, `F` and `L` from here only."""
