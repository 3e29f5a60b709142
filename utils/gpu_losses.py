"""Losses on a GPU by one or two kernels forward, one backward; Chainer's functions take 7 to 40.

Forward, one kernel computes each pixel's term and a second adds them up. CuPy's reduction kernels
would do both at once, but compute a single sum in a single block, too slow for so many pixels.
"""

from utils.stack import chainer, kernels

cuda = chainer.backends.cuda

# cost: one term of the GDL, for a difference between neighbouring pixels and the true difference.
# slope: its derivative with respect to the predicted difference. In the kernels below `i` is a
# pixel's index, x the predicted frames, t the true ones.
FUNCTIONS = r"""
template <typename T> __device__ T power(T base, T alpha) {
  return alpha == 0 ? T(1) : alpha == 1 ? base : alpha == 2 ? base * base : pow(base, alpha);
}
template <typename T> __device__ T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;  // NaN of NaN
}
template <typename T> __device__ T cost(T step, T true_step, T alpha) {
  return power(abs(abs(true_step) - abs(step)), alpha);
}
template <typename T> __device__ T slope(T step, T true_step, T alpha) {
  T error = abs(step) - abs(true_step);
  return sign(error) * sign(step) * alpha * power(abs(error), alpha - 1);
}
"""
NEIGHBOURS = "bool down = i / width % height + 1 < height, right = i % width + 1 < width;\n"
GDL = (
    NEIGHBOURS
    + """
y = 0;
if (down) y += cost(x[i + width] - x[i], t[i + width] - t[i], alpha) / downs;
if (right) y += cost(x[i + 1] - x[i], t[i + 1] - t[i], alpha) / rights;
"""
)
GDL_GRADIENT = (
    NEIGHBOURS
    + """
T sum = 0;
if (down) sum -= slope(x[i + width] - x[i], t[i + width] - t[i], alpha) / downs;
if (i / width % height) sum += slope(x[i] - x[i - width], t[i] - t[i - width], alpha) / downs;
if (right) sum -= slope(x[i + 1] - x[i], t[i + 1] - t[i], alpha) / rights;
if (i % width) sum += slope(x[i] - x[i - 1], t[i] - t[i - 1], alpha) / rights;
y = sum * gy;
"""
)
LP = "y = power(abs(x[i] - t[i]), alpha) / count;"
LP_GRADIENT = """
T error = x[i] - t[i];
y = gy * sign(error) * alpha * power(abs(error), alpha - 1) / count;
"""
OPERANDS = "raw T x, raw T t, T alpha"
BCE = "(log1p(exp(-fabs((double)x))) - (double)x * (target - (x >= 0))) / count"
BCE_GRADIENT = "gx = gy * (1 / (1 + exp(-(double)x)) - target) / count"


def lp(predicted, true, p):
    """losses.lp of float32 or float64 arrays of one shape on a GPU; `true` has no gradient."""
    loss = Loss("lp", LP, LP_GRADIENT, "T count", (p, predicted.size))
    return loss.apply((predicted, chainer.as_array(true)))[0]


def gdl(predicted, true, alpha):
    """losses.gdl of float32 or float64 arrays of one shape on a GPU; `true` has no gradient."""
    size, (*_, height, width) = predicted.size, predicted.shape
    numbers = alpha, height, width, size - size // height, size - size // width
    loss = Loss("gdl", GDL, GDL_GRADIENT, "int64 height, int64 width, T downs, T rights", numbers)
    return loss.apply((predicted, chainer.as_array(true)))[0]


def bce(logits, target):
    """losses.bce of logits on a GPU."""
    return CrossEntropy(target).apply((logits,))[0]


class Loss(chainer.FunctionNode):
    """predicted, true -> the sum over pixels of a term that a kernel computes of each.

    operation, gradient: CUDA code of the term and of its gradient for pixel `i`. operands: types
    and names of the numbers that they use beside alpha. numbers: alpha and those numbers.
    """

    def __init__(self, name, operation, gradient, operands, numbers):
        self.name, self.operation, self.gradient_operation = name, operation, gradient
        self.operands, self.numbers = f"{OPERANDS}, {operands}", numbers

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        return (launch(self.operands, self.operation, self.name, *inputs, *self.numbers).sum(),)

    def backward(self, indexes, grad_outputs):
        return Gradient(self).apply((*self.get_retained_inputs(), *grad_outputs))[0], None

    def gradient(self, predicted, true, gy):
        kernel = f"{self.operands}, T gy", self.gradient_operation, f"{self.name}_gradient"
        return launch(*kernel, predicted, true, *self.numbers, gy)


class CrossEntropy(chainer.FunctionNode):
    """logits -> their mean cross-entropy, summed in float64 as on the CPU.

    There are few of them, one for each clip and scale, so a single block may add them up.
    """

    def __init__(self, target):
        self.target = target

    def forward(self, inputs):
        self.retain_inputs((0,))
        (x,), operands = inputs, "T x, T target, int64 count"
        functions = BCE, "a + b", "y = a"  # of each element, to reduce two, of the sum
        kernel = cuda.reduce(operands, "T y", *functions, "0", "bce", reduce_type="double")
        return (kernel(x, self.target, x.size),)

    def backward(self, indexes, grad_outputs):
        return Gradient(self).apply((*self.get_retained_inputs(), *grad_outputs))

    def gradient(self, x, gy):
        operands = "T x, T target, int64 count, T gy"
        kernel = cuda.elementwise(operands, "T gx", BCE_GRADIENT, "bce_gradient")
        return kernel(x, self.target, x.size, gy)


class Gradient(chainer.FunctionNode):
    """(inputs of a loss, gradient of its output) -> gradient of its first input."""

    def __init__(self, loss):
        self.loss = loss

    def forward(self, inputs):
        return (self.loss.gradient(*inputs),)


def launch(operands, operation, name, predicted, true, *others):
    """Run an elementwise kernel for each pixel -> an array like `predicted`."""
    cupy = kernels.get_cupy()
    predicted, true = map(cupy.ascontiguousarray, (predicted, true))
    kernel = cuda.elementwise(operands, "T y", operation, name, preamble=FUNCTIONS)
    return kernel(predicted, true, *others, cupy.empty_like(predicted))
