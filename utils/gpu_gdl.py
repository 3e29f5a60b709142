"""The gradient difference loss on a GPU in a kernel each way; Chainer's functions take forty."""

from utils.stack import chainer

# What the step from a pixel to its neighbour costs, where the true step is another; how that grows
# with the step.  `i` is the pixel's number.
FUNCTIONS = r"""
template <typename T> __device__ T power(T much, T alpha) {
  return alpha == 0 ? T(1) : alpha == 1 ? much : alpha == 2 ? much * much : pow(much, alpha);
}
template <typename T> __device__ T cost(T step, T true_step, T alpha) {
  return power(abs(abs(true_step) - abs(step)), alpha);
}
template <typename T> __device__ T growth(T step, T true_step, T alpha) {
  T much = abs(step) - abs(true_step);
  T sign = ((much > 0) - (much < 0)) * ((step > 0) - (step < 0));
  return sign * alpha * power(abs(much), alpha - 1);
}
"""
PLACE = "bool down = i / width % height + 1 < height, right = i % width + 1 < width;\n"
COST = (
    PLACE
    + """
y = 0;
if (down) y += cost(x[i + width] - x[i], t[i + width] - t[i], alpha) / downs;
if (right) y += cost(x[i + 1] - x[i], t[i + 1] - t[i], alpha) / rights;
"""
)
GROWTH = (
    PLACE
    + """
T sum = 0;
if (down) sum -= growth(x[i + width] - x[i], t[i + width] - t[i], alpha) / downs;
if (i / width % height) sum += growth(x[i] - x[i - width], t[i] - t[i - width], alpha) / downs;
if (right) sum -= growth(x[i + 1] - x[i], t[i + 1] - t[i], alpha) / rights;
if (i % width) sum += growth(x[i] - x[i - 1], t[i] - t[i - 1], alpha) / rights;
y = sum * gy;
"""
)
OPERANDS = "raw T x, raw T t, int64 height, int64 width, T downs, T rights, T alpha"


def gdl(predicted, true, alpha):
    """That of utils/losses.py; true has no gradient."""
    return Gdl(alpha).apply((predicted, chainer.as_array(true)))[0]


class Gdl(chainer.FunctionNode):
    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        return (launch(OPERANDS, COST, "gdl", *inputs, self.alpha).sum(),)

    def backward(self, indexes, grad_outputs):
        operands = *self.get_retained_inputs(), *grad_outputs
        return GdlGradient(self.alpha).apply(operands)[0], None


class GdlGradient(chainer.FunctionNode):
    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, inputs):
        *frames, gy = inputs
        return (launch(f"{OPERANDS}, T gy", GROWTH, "gdl_gradient", *frames, self.alpha, gy),)


def launch(operands, operation, name, predicted, true, alpha, *others):
    """What a kernel has to say of each pixel."""
    cuda = chainer.backends.cuda
    predicted, true = map(cuda.cupy.ascontiguousarray, (predicted, true))
    size, (*_, height, width) = predicted.size, predicted.shape
    told = height, width, size - size // height, size - size // width, alpha
    kernel = cuda.elementwise(operands, "T y", operation, name, preamble=FUNCTIONS)
    return kernel(predicted, true, *told, *others, cuda.cupy.empty_like(predicted))
