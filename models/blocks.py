"""Convolutional layers that several architectures are made of."""

from utils.stack import F, L, chainer

# He et al. (ICCV 2015): first weights that keep the signal's size through ReLUs.  A transposed
# convolution has its inputs where Chainer counts outputs.
TO_RELU = chainer.initializers.HeNormal()
TO_RELU_TRANSPOSED = chainer.initializers.HeNormal(fan_option="fan_out")


def convolution(inputs, outputs, kernel=3, stride=1, normalised=False):
    """Convolution to size / stride, batch normalisation if asked for, ReLU."""
    pad = (kernel - 1) // 2
    layer = L.Convolution2D(inputs, outputs, kernel, stride, pad, normalised, initialW=TO_RELU)
    return activated(layer, outputs, normalised)


def deconvolution(inputs, outputs, stride=1, normalised=False):
    """Transposed convolution to size * stride, batch normalisation if asked for, ReLU."""
    layer = enlarging(inputs, outputs, stride, normalised, initialW=TO_RELU_TRANSPOSED)
    return activated(layer, outputs, normalised)


def enlarging(inputs, outputs, stride, nobias=False, initialW=None):
    """Transposed convolution, stride 1 or 2, its kernel laying as many weights on each pixel."""
    kernel = 2 + stride  # 4 for a stride of 2, where the 3 of the sources leaves a chequerboard
    return L.Deconvolution2D(inputs, outputs, kernel, stride, 1, nobias, initialW=initialW)


def activated(layer, outputs, normalised):
    if normalised:
        return chainer.Sequential(layer, L.BatchNormalization(outputs), relu)
    return chainer.Sequential(layer, relu)


def relu(x):
    """ReLU of a Variable that is needed no more: in its own place unless there is to be a gradient.

    The largest arrays of a rollout are what its convolutions put out: so one does, not two.
    """
    if chainer.config.enable_backprop:
        return F.relu(x)
    x.xp.maximum(x.array, 0, out=x.array)
    return x


def to_frames(x):
    """Sigmoid, its (0, 1) mapped to the frames' (-1, 1)."""
    return 2 * F.sigmoid(x) - 1
