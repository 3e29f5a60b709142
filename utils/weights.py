"""A network's weights in a file that is safe to read."""

import os

import numpy as np
import safetensors.numpy

from utils.archive import UNREADABLE, Archive, write_archive
from utils.errors import UserError, reason
from utils.files import write_whole
from utils.stack import chainer

IN_SNAPSHOT = "updater/model:gen/"  # where a snapshot of the whole training keeps the generator
SAFETENSORS = ".safetensors"  # the ending of files in that format
# A file may be TIMES as large as the weights, and SPARE_BYTES more: a snapshot also holds the
# optimisers, the discriminators and the log.
TIMES, SPARE_BYTES = 64, 2**28
CURE = "take other weights"
NAMED = 4  # differing parameters that a message names


def save_weights(path, chain, about=None):
    """Write the chain's weights atomically; OSError if that fails.

    The format is safetensors if the path ends with that, else .npz with a checksum. `about`:
    {name: text} for the "metadata" of a .safetensors file.
    """
    arrays = arrays_of(chain)
    if str(path).endswith(SAFETENSORS):
        arrays = {name.replace("/", "."): np.asarray(a, order="C") for name, a in arrays.items()}
        write_whole(path, lambda file: file.write(safetensors.numpy.save(arrays, about)))
    else:
        write_archive(path, arrays)


def load_weights(path, chain):
    """Fill the chain from a file of `save_weights` or from a snapshot of a training run.

    Never unpickles anything, and reads only what belongs to the chain. Raises UserError for a file
    that cannot be read, that holds numbers that are not finite, or whose parameters are not the
    chain's; the message names some that differ.
    """
    if os.path.isdir(path):
        raise UserError(f"{path}: a folder; give the file of weights or the snapshot in it")
    arrays = arrays_of(chain)
    needed, at_most = forms_of(arrays), TIMES * nbytes(arrays) + SPARE_BYTES
    if str(path).endswith(SAFETENSORS):
        arrays = read_safetensors(path, needed, at_most)
        chainer.serializers.NpzDeserializer(arrays).load(chain)
    else:
        load_archive(path, chain, needed, at_most)
    for name, array in arrays_of(chain).items():
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {name} is not finite; take earlier weights")


def load_archive(path, chain, needed, at_most):
    """Fill the chain from a file that `write_archive` wrote, a snapshot or weights alone."""
    try:
        archive = Archive(path, at_most)
    except UserError as error:
        raise UserError(f"{error}; {CURE}") from None
    with archive:
        prefix = IN_SNAPSHOT if any(n.startswith(IN_SNAPSHOT) for n in archive.forms) else ""
        found = {
            name.removeprefix(prefix): form
            for name, form in archive.forms.items()
            if name.startswith(prefix)
        }
        check_fit(path, needed, found)
        chainer.serializers.NpzDeserializer(archive, prefix).load(chain)


def read_safetensors(path, needed, at_most):
    """The arrays of a .safetensors file, named as Chainer names them, if they are those needed."""
    try:
        if (count := os.path.getsize(path)) > at_most:
            problem = f"{count} bytes, more than the {at_most} this network can need"
            raise UserError(f"{path}: {problem}; {CURE}")
        with safetensors.safe_open(path, "np") as file:
            arrays = {name.replace(".", "/"): file.get_tensor(name) for name in file.offset_keys()}
        for name, array in arrays.items():  # other programs save floats of other types
            if name in needed and array.dtype.kind == needed[name][1].kind == "f":
                arrays[name] = array.astype(needed[name][1])
        check_fit(path, needed, forms_of(arrays))
        return arrays
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {CURE}") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise UserError(f"{path}: {problem}; {CURE}") from None
    except (safetensors.SafetensorError, *UNREADABLE) as error:
        problem = f"not a safetensors file ({reason(error)})"
        raise UserError(f"{path}: {problem}; {CURE}") from None


def check_fit(path, needed, found):
    """Raise UserError unless both {name: (shape, dtype)} are the same, naming what differs."""
    if needed == found:
        return
    differences = []
    for name in sorted(needed | found):
        if name not in found:
            differences.append(f"{name} is missing, {words(needed[name])} here")
        elif name not in needed:
            differences.append(f"{name} is {words(found[name])}, unknown here")
        elif needed[name] != found[name]:
            differences.append(f"{name} is {words(found[name])}, {words(needed[name])} here")
    count, named = len(differences), "; ".join(differences[:NAMED])
    more = f"; {count - NAMED} more" if count > NAMED else ""
    raise UserError(
        f"{path}: of other clips (history, horizon, channels), another --arch, --width, --pyramid, "
        "--model-options, --adversarial, --unconditional-dis, --optimizer or version "
        f"({count} of {len(needed | found)} parameters differ: {named}{more}); give the same"
    )


def arrays_of(chain):
    """{name: array} of all that a chain, or a trainer, would save."""
    return chainer.serializers.npz.serialize(chain)


def forms_of(arrays):
    """{name: (shape, dtype)} of {name: array}."""
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def nbytes(arrays):
    """Total bytes of {name: array}."""
    return sum(array.nbytes for array in arrays.values())


def words(form):
    """(shape, dtype) as text, such as float32 3x3."""
    shape, dtype = form
    return f"{dtype} {'x'.join(map(str, shape)) or 'scalar'}"
