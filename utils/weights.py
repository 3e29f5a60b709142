"""A network's weights in a file: safe to read, plain about what does not fit."""

import zipfile
import zlib

import numpy as np

from utils.errors import UserError
from utils.stack import chainer

IN_SNAPSHOT = "updater/model:gen/"  # where a snapshot of the whole training keeps the generator


def save_weights(path, chain):
    """Write the chain's weights as an uncompressed .npz, whatever the file's ending."""
    with open(path, "wb") as file:
        chainer.serializers.save_npz(file, chain, compression=False)


def load_weights(path, chain):
    """Fill the chain from a file of `save_weights` or from a snapshot of a training run.

    Never unpickles.  Raises UserError for a file that cannot be read or that holds other
    parameters than the chain's; the message names the first of them.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            prefix = IN_SNAPSHOT if any(name.startswith(IN_SNAPSHOT) for name in arrays) else ""
            check_fit(path, chain, arrays, prefix)
            chainer.serializers.NpzDeserializer(arrays, prefix, strict=True).load(chain)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a .model or a snapshot of a run") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not readable as weights ({first_line(error)})") from None


def check_fit(path, chain, arrays, prefix):
    """Raise UserError unless the arrays under prefix have the names and shapes of the chain's."""
    needed = {prefix + name.lstrip("/"): param.shape for name, param in chain.namedparams()}
    found = {name: arrays[name].shape for name in arrays.files if name.startswith(prefix)}
    wrong = sorted(name for name in needed if needed[name] != found.get(name))
    if wrong:
        name = wrong[0]
        there = f"is {found[name]}" if name in found else "is missing"
        raise UserError(
            f"{path}: of another architecture or width: {len(wrong)} of {len(needed)} parameters "
            f"differ, the first: {name} {there} and should be {needed[name]}"
        )


def first_line(error):
    return (str(error) or type(error).__name__).splitlines()[0]
