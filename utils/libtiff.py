"""What libtiff finds wrong with a file that Pillow has it decode, and passes over in part."""

import contextlib
import ctypes
import threading

from PIL import Image

LENGTH = 300  # bytes of a message
HARMLESS = b'"ResolutionUnit"'  # that of a picture has nothing to do with its pixels
heard = threading.local()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def hear(_, form, values):
    """Keep the first message that matters; libtiff would print them all."""
    text = ctypes.create_string_buffer(LENGTH)
    ctypes.CDLL(None).vsnprintf(text, LENGTH, form, ctypes.c_void_p(values))
    if HARMLESS not in text.value and not getattr(heard, "message", None):
        heard.message = text.value.decode(errors="replace")


with contextlib.suppress(AttributeError, OSError):  # where Pillow hides its libtiff
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(hear)


def load(image):
    """Decode the pixels of an opened image; ValueError where libtiff finds them damaged.

    Pillow would show black, or the image before, where it cannot read the tags of one in a stack.
    """
    heard.message = None
    try:
        image.load()
    finally:
        if heard.message:
            raise ValueError(heard.message)
