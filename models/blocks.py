"""Convolutional layers that several architectures are made of."""

from utils.stack import F, L, chainer, layers

# He et al. (ICCV 2015): keeps the variance of activations the same through layers with ReLUs.
HE_NORMAL = chainer.initializers.HeNormal()
# For a last layer whose output is added to a guess: training begins with nearly that guess.
NEARLY_ZERO = chainer.initializers.LeCunNormal(0.01)


def narrowed(maps, width):
    """Numbers of feature maps, one for each layer: as published ("paper"), an eighth ("small")."""
    return of_width({"paper": maps, "small": tuple(number // 8 for number in maps)}, width)


def of_width(choices, width):
    """choices[width]; ValueError, in one line, for an unknown width."""
    if width not in choices:
        raise ValueError(f"--width {width}: choose from {', '.join(choices)}")
    return choices[width]


def convolution(inputs, outputs, kernel=3, stride=1, normalised=False):
    """Convolution to size / stride, batch normalisation if `normalised`, ReLU."""
    pad, nobias = (kernel - 1) // 2, normalised  # the normalisation has a bias of its own
    layer = L.Convolution2D(inputs, outputs, kernel, stride, pad, nobias=nobias, initialW=HE_NORMAL)
    return activated(layer, outputs, normalised)


def deconvolution(inputs, outputs, stride=1, normalised=False):
    """Transposed convolution to size * stride, batch normalisation if `normalised`, ReLU."""
    layer = transposed_convolution(inputs, outputs, stride, nobias=normalised, gain=2)
    return activated(layer, outputs, normalised)


def transposed_convolution(inputs, outputs, stride, nobias=False, gain=1):
    """Transposed convolution to size * stride, stride 1 or 2, by a kernel of 3 or 4.

    The networks of team-pragmatic-chaos always use a kernel of 3. With a stride of 2 it covers
    some output pixels with more weights than others, a checkerboard pattern; a kernel of 4 covers
    all alike.

    gain: by how much it multiplies the variance at first; 2 where a ReLU follows (He et al.).
    Chainer's own initial weights would make that of an output of few channels far too large.
    """
    kernel = 2 + stride
    seen = inputs * (kernel / stride) ** 2  # numbers that an output pixel is a sum of
    initialW = chainer.initializers.Normal((gain / seen) ** 0.5)
    return L.Deconvolution2D(
        inputs, outputs, kernel, stride, pad=1, nobias=nobias, initialW=initialW
    )


def activated(layer, outputs, normalised):
    """The layer, batch normalisation if `normalised`, ReLU."""
    if normalised:
        return chainer.Sequential(layer, L.BatchNormalization(outputs), relu)
    return chainer.Sequential(layer, relu)


def relu(x):
    """ReLU of a Variable; in inference it overwrites the input, which must not be used afterwards.

    The outputs of convolutions are the largest arrays of a rollout: this saves a second one.
    """
    if chainer.config.enable_backprop:
        return F.relu(x)
    x.xp.maximum(x.array, 0, out=x.array)
    return x


def sequential(x, links, relus):
    """Apply the links one after the other, a ReLU after each of the first `relus`.

    x: (B, C, H, W) for Convolution2D links, (B, C) for Linear ones. All are one function node
    where utils/stack/layers.py can make them one, which is faster.
    """
    if (y := layers.as_one_node(x, links, relus)) is not None:
        return y
    for link in links[:relus]:
        x = relu(link(x))
    for link in links[relus:]:
        x = link(x)
    return x


def to_frames(x):
    """Sigmoid, its range (0, 1) mapped to the frames' (-1, 1)."""
    return 2 * F.sigmoid(x) - 1
