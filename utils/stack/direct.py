"""Convolutions of NumPy arrays by oneDNN's direct kernels."""

from utils.stack import dnnl

RESULTS = dnnl.DST, dnnl.DIFF_SRC, dnnl.DIFF_WEIGHTS
DTYPES = {"float32": dnnl.F32, "tf32": dnnl.F32, "bfloat16": dnnl.BF16}  # of the numbers multiplied


def _grouped_weights(geometry):
    """The weights' shape for oneDNN, in which groups are an axis of their own."""
    outputs, *others = geometry.weights
    if geometry.groups == 1:
        return geometry.weights
    return geometry.groups, outputs // geometry.groups, *others


def _steps_and_padding(geometry):
    """Strides, gaps of dilation, padding before, padding after, as oneDNN takes them."""
    gaps = [dilate - 1 for dilate in geometry.dilate]
    return [
        dnnl.Dims(*map(int, pair))
        for pair in (geometry.stride, gaps, geometry.pad, geometry.pad_after)
    ]


def _round_up(size):
    return -(-size // dnnl.CACHE_LINE) * dnnl.CACHE_LINE


class Operand:
    """An operand of a kernel: reorders an array between NumPy's memory layout and the kernel's."""

    def __init__(self, kernel, role, shape, offset):
        self._plain, self._packed = dnnl.descriptor(shape, dnnl.F32), kernel.descriptor(role)
        self._is_packed = dnnl.library().equal(self._plain, self._packed)
        self.role, self._offset, self._bytes = role, offset, dnnl.library().size(self._plain)
        self.end = offset + _round_up(dnnl.library().size(self._packed))
        ends = self._plain, self._packed
        if role in RESULTS:
            ends = reversed(ends)
        self.reorder = dnnl.reorder(*ends, dnnl.library().attributes)

    def addresses(self, array, buffer):
        """(address of the array, address for the kernel): the same if the layout and alignment suit
        the kernel, else in `buffer`."""
        if array.nbytes != self._bytes or not array.flags.c_contiguous:
            raise ValueError(f"not {self._bytes} bytes in a row: {array.dtype} {array.shape}")
        address = array.ctypes.data
        if self._is_packed and address % dnnl.CACHE_LINE == 0:
            return address, address
        return address, buffer + self._offset


class Convolution:
    """One direction of a convolution, compiled for its shapes; threads may share it."""

    def __init__(self, kernel, shapes, result):
        """shapes: {role: shape} of the operands, the output last; result: shape of a new array."""
        self.implementation = kernel.implementation
        self._kernel, self._result = kernel, result
        operands, end = [], 0
        for role, shape in shapes.items():
            operands.append(Operand(kernel, role, shape, end))
            end = operands[-1].end
        *self._inputs, self._output = operands
        self._bytes = end

    def __call__(self, *arrays):
        """C-contiguous float32 arrays of the compiled shapes -> a new array."""
        result = dnnl.empty(self._result)
        buffer = dnnl.thread.buffers["operands"].address(self._bytes)
        packed = []
        for operand, array in zip(self._inputs, arrays, strict=True):
            source, target = operand.addresses(array, buffer)
            if source != target:
                operand.reorder(source, target)
            packed.append(target)
        target, source = self._output.addresses(result, buffer)
        self._kernel(*packed, source)
        if source != target:
            self._output.reorder(source, target)
        return result


def forward(geometry, bias):
    """(images, weights[, bias]) -> outputs; raises dnnl.Error if oneDNN has no kernel for it."""
    shapes = {dnnl.SRC: geometry.images, dnnl.WEIGHTS: _grouped_weights(geometry)}
    if bias:
        shapes[dnnl.BIAS] = geometry.weights[:1]
    shapes[dnnl.DST] = geometry.outputs
    return Convolution(dnnl.Primitive(shapes, *_forward(geometry, bias)), shapes, geometry.outputs)


def data_gradient(geometry):
    """(outputs' gradient, weights) -> images' gradient; raises dnnl.Error as `forward` does."""
    shapes = {
        dnnl.DIFF_DST: geometry.outputs,
        dnnl.WEIGHTS: _grouped_weights(geometry),
        dnnl.DIFF_SRC: geometry.images,
    }
    kernel = dnnl.Primitive(
        shapes,
        "convolution_backward_data_primitive_desc_create",
        dnnl.library().engine,
        dnnl.DIRECT,
        *_descriptors(geometry, result="images"),
        *_steps_and_padding(geometry),
        dnnl.Owned("primitive_desc", *_forward(geometry)),
        dnnl.library().attributes,
    )
    return Convolution(kernel, shapes, geometry.images)


def weight_gradient(geometry):
    """(images, outputs' gradient) -> weights' gradient; raises dnnl.Error as `forward` does."""
    shapes = {
        dnnl.SRC: geometry.images,
        dnnl.DIFF_DST: geometry.outputs,
        dnnl.DIFF_WEIGHTS: _grouped_weights(geometry),
    }
    images, weights, outputs = _descriptors(geometry, result="weights")
    kernel = dnnl.Primitive(
        shapes,
        "convolution_backward_weights_primitive_desc_create",
        dnnl.library().engine,
        dnnl.DIRECT,
        images,
        weights,
        None,  # no gradient of the bias: Chainer sums that itself
        outputs,
        *_steps_and_padding(geometry),
        dnnl.Owned("primitive_desc", *_forward(geometry)),
        dnnl.library().attributes,
    )
    return Convolution(kernel, shapes, geometry.weights)


def _forward(geometry, bias=False):
    """Arguments that create a forward kernel; the gradients' kernels take it as a hint."""
    images, weights, outputs = _descriptors(geometry, result="outputs")
    return (
        "convolution_forward_primitive_desc_create",
        dnnl.library().engine,
        dnnl.FORWARD_TRAINING,
        dnnl.DIRECT,
        images,
        weights,
        dnnl.descriptor(geometry.weights[:1], dnnl.F32) if bias else None,
        outputs,
        *_steps_and_padding(geometry),
        dnnl.library().attributes,
    )


def _descriptors(geometry, result):
    """Memory descriptors of images, weights, outputs, with layouts that oneDNN may choose; the one
    called `result` is float32."""
    shapes = {
        "images": geometry.images,
        "weights": _grouped_weights(geometry),
        "outputs": geometry.outputs,
    }
    return [
        dnnl.descriptor(shape, dnnl.F32 if name == result else DTYPES[geometry.dtype], dnnl.TAG_ANY)
        for name, shape in shapes.items()
    ]
