"""The gradient of a slice, assigned as a whole, where Chainer adds number by number."""

ONCE = int, slice, type(None), type(Ellipsis)  # indexes that select no element twice


def install(chainer):
    """Let `chainer` assign the gradient of x[...], and add only for arrays of indexes, which may
    repeat; on a GPU by `add.at`, since CuPy 14 warns of `scatter_add`."""

    def forward(self, inputs):
        (gy,) = inputs
        xp = chainer.backend.get_array_module(gy)
        gx = xp.zeros(self._in_shape, gy.dtype)
        if all(isinstance(index, ONCE) for index in self.slices):
            gx[self.slices] = gy
        else:
            xp.add.at(gx, self.slices, gy)
        return (gx,)

    chainer.functions.array.get_item.GetItemGrad.forward = forward
