"""Convolutional layers that several architectures are made of."""

from utils.stack import F, L, chainer, layers

# He et al. (ICCV 2015): first weights that keep the signal's size through ReLUs.  The weights of a
# transposed convolution begin with its inputs, so that Chainer's fan_out counts these.
TO_RELU = chainer.initializers.HeNormal()
TO_RELU_TRANSPOSED = chainer.initializers.HeNormal(fan_option="fan_out")
# For a last layer that corrects something: its correction begins near nothing.
NEARLY_ZERO = chainer.initializers.LeCunNormal(0.01)


def narrowed(maps, width):
    """The feature maps of several layers as published ("paper"), or an eighth of them ("small")."""
    return of_width({"paper": maps, "small": tuple(number // 8 for number in maps)}, width)


def of_width(choices, width):
    """What {width: choice} has for this width; ValueError for one that it has not."""
    if width not in choices:
        raise ValueError(f"--width {width}: choose from {', '.join(choices)}")
    return choices[width]


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
    """Transposed convolution to size * stride, stride 1 or 2.

    The sources' kernel of 3 reaches some pixels with more weights than others where the stride is
    2, a checkerboard pattern; 4 reaches all with as many.
    """
    kernel = 2 + stride
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


def sequential(x, links, relus):
    """Apply the links one after the other, a ReLU after each of the first `relus`.

    x: (B, C, H, W) for Convolution2D links, (B, C) for Linear ones.
    """
    if (y := layers.fused(x, links, relus)) is not None:
        return y
    for link in links[:relus]:
        x = relu(link(x))
    for link in links[relus:]:
        x = link(x)
    return x


def to_frames(x):
    """Sigmoid, its range (0, 1) mapped to the frames' (-1, 1)."""
    return 2 * F.sigmoid(x) - 1
