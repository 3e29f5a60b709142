"""Successive layers on a GPU, by cuDNN.

Between the layers arrays keep channels last, in 16 bits for bfloat16, as cuDNN's engines want them.
Only the input and the output are transposed, by one kernel each. A layer takes two kernels
forward, one of them for bias and ReLU, and three backward, one of them for the gradients of both.
"""

from utils.stack import casts, chainer, cudnn, cudnn_engines, gpu_relu, kernels

DTYPES = "tf32", "bfloat16"  # float16 would need a power of two beside each array


class GpuLayers:
    """The arithmetic of `layers.Layers` on CuPy arrays."""

    dtype_in_use = staticmethod(cudnn.dtype_in_use)

    def __init__(self, geometries, relus):
        self.geometries, self.relus = geometries, relus
        self.dtype = geometries[0].dtype

    @staticmethod
    def accepts(array):
        """Whether this class can compute layers of such an array: on a GPU that multiplies the type
        in use by matrix units, which want channels last."""
        on_gpu, dtype = isinstance(array, chainer.backends.cuda.ndarray), cudnn.dtype_in_use()
        usable = on_gpu and dtype in DTYPES and kernels.usable()
        return usable and cudnn.capability() >= cudnn.CAPABILITY[dtype]

    def forward(self, x, *params):
        """x, W, b, W, b, ... float32 -> y float32, contiguous: (B, C, H, W), or (B, C) of linear
        layers.

        Raises Unsuitable or cudnn_plans.Error for what cuDNN cannot do.
        """
        self.shapes = [array.shape for array in (x, *params)]
        shapes = self.geometries[0].images, *(geometry.weights for geometry in self.geometries)
        y, *self.weights = self.packed([x, *params[::2]], shapes)
        self.maps = [y]
        for k, geometry in enumerate(self.geometries):
            factors = {"images": self.maps[-1], "weights": self.weights[k]}
            y = self.computed("forward", geometry, factors)
            bias = kernels.get_cupy().ascontiguousarray(params[2 * k + 1])
            if k < max(self.relus, len(self.geometries) - 1):
                y = gpu_relu.activated(y, bias, self.dtype, relu=k < self.relus)
                bias = None  # a last layer's, if it has no ReLU, is added below, in float32
            self.maps.append(y)
            if not chainer.config.enable_backprop:
                del self.maps[0]
        (y,) = casts.unpacked([y], self.dtype, bias=bias)
        return y.reshape(geometry.outputs[: x.ndim])

    def gradients(self, wanted, gy):
        """{index of an input of `forward`: its gradient, float32}, at least for those wanted.

        gy: the gradient of `forward`'s output.
        """
        groups = [gpu_relu.groups(geometry.weights[0]) for geometry in self.geometries]
        counters = kernels.get_cupy().zeros(sum(groups), "int32")
        (gradient,) = self.packed([gy], [self.geometries[-1].outputs])
        sums, products = {}, {}
        for k in reversed(range(len(self.geometries))):
            geometry, y = self.geometries[k], self.maps[k + 1] if k < self.relus else None
            done = counters[sum(groups[:k]) :]
            passed, sums[2 * k + 2] = gpu_relu.passed_on(gradient, y, self.dtype, done)
            outputs = {"outputs": passed}
            if 2 * k + 1 in wanted:
                factors = outputs | {"images": self.maps[k]}
                products[2 * k + 1] = self.computed("weight_gradient", geometry, factors)
            if min(wanted) > 2 * k:
                break
            factors = outputs | {"weights": self.weights[k]}
            gradient = self.computed("data_gradient", geometry, factors)
        else:
            products[0] = gradient
        arrays = casts.unpacked(products.values(), self.dtype)
        return sums | {
            i: array.reshape(self.shapes[i]) for i, array in zip(products, arrays, strict=True)
        }

    def packed(self, arrays, shapes):
        """Float32 arrays in these shapes with channels last, as casts.packed makes them."""
        rows = [cudnn.as_aligned(a).reshape(shape) for a, shape in zip(arrays, shapes, strict=True)]
        return casts.packed(rows, self.dtype)

    def computed(self, direction, geometry, factors):
        """What cuDNN computes from two factors, {name in OPERANDS: array}: the third operand."""
        (written,) = set(cudnn_engines.OPERANDS) - factors.keys()
        shape = getattr(geometry, written)
        result = kernels.get_cupy().empty(shape, casts.STORED_AS[self.dtype])
        cudnn_engines.compute(direction, geometry, factors | {written: result}, last=True)
        return result
