"""Convolutional layers that several architectures are made of."""

from utils.stack import F, L, chainer, layers

# He et al. (ICCV 2015): first weights that keep the signal's size through ReLUs.  A transposed
# convolution has its inputs where Chainer counts outputs.
TO_RELU = chainer.initializers.HeNormal()
TO_RELU_TRANSPOSED = chainer.initializers.HeNormal(fan_option="fan_out")
# For a last layer that corrects something: its correction begins near nothing.
NEARLY_ZERO = chainer.initializers.LeCunNormal(0.01)


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
    """Transposed convolution to size * stride, stride 1 or 2, every pixel by as many weights."""
    kernel = 2 + stride  # 4 for a stride of 2: the 3 of the sources makes a checkerboard pattern
    return L.Deconvolution2D(inputs, outputs, kernel, stride, 1, nobias, initialW=initialW)


def activated(layer, outputs, normalised):
    """The layer, batch normalisation if asked for, ReLU."""
    if normalised:
        return chainer.Sequential(layer, L.BatchNormalization(outputs), relu)
    return chainer.Sequential(layer, relu)


def relu(x):
    """ReLU of a Variable that is not needed afterwards: in place unless gradients are wanted.

    Convolutions' outputs are the largest arrays of a rollout; this saves a second one.
    """
    if chainer.config.enable_backprop:
        return F.relu(x)
    x.xp.maximum(x.array, 0, out=x.array)
    return x


def in_a_row(x, links, activated):
    """x (B, C, H, W) after Convolution2D links, or (B, C) after Linear ones, ReLU after the first
    `activated` of them."""
    if (y := layers.applied(x, links, activated)) is not None:
        return y
    for link in links[:activated]:
        x = relu(link(x))
    for link in links[activated:]:
        x = link(x)
    return x


def to_frames(x):
    """Sigmoid, its range (0, 1) mapped to the frames' (-1, 1)."""
    return 2 * F.sigmoid(x) - 1
