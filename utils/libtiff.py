"""Errors that libtiff reports while Pillow decodes a file, some of which Pillow ignores."""

import contextlib
import ctypes
import threading

from PIL import Image

LENGTH = 300  # bytes of a message
HARMLESS = b'"ResolutionUnit"'  # errors in this tag do not affect pixels
heard = threading.local()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def hear(_, form, values):
    """libtiff's error handler: keeps the first message that matters, prints none."""
    text = ctypes.create_string_buffer(LENGTH)
    ctypes.CDLL(None).vsnprintf(text, LENGTH, form, ctypes.c_void_p(values))
    if HARMLESS not in text.value and not getattr(heard, "message", None):
        heard.message = text.value.decode(errors="replace")


with contextlib.suppress(AttributeError, OSError):  # Pillow's libtiff may not be accessible
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(hear)


def load(image):
    """Decode the pixels of an opened image; ValueError if libtiff finds them damaged.

    Pillow alone would show black, or the previous image of a stack, where tags cannot be read.
    """
    heard.message = None
    try:
        image.load()
    finally:
        if heard.message:
            raise ValueError(heard.message)
