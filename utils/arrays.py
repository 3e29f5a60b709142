"""Arrays in files, NumPy's or Zarr, as videos."""

import collections
import contextlib
import dataclasses
import functools
import json
import math
import os
import zipfile

import numpy as np

from utils.errors import reason
from utils.files import read_file
from utils.frames import MAX_PIXELS, BadFrame, Video, describe_size
from utils.spacing import evenly

ENDINGS = (".npy", ".npz")
MARKERS = ("zarr.json", ".zarray")  # what makes a folder a Zarr array
PIXEL_TYPES = ("bool", "uint8", "uint16", "float16", "float32", "float64")
NO_PIXELS = "OUSVMm"  # kinds of types beside pixels: Python objects, text, records, dates
ROUNDING = 0.5 / 255  # how far floats may be out of [0, 1], half a level
RANKS = (3, 4, 5)  # numbers of axes
CHECKED = 9  # frames of an array of floats whose range is looked at first
COLOURS = (1, 3, 4)  # how many channels there may be; the fourth is alpha
# The largest that are read:
HEADER_BYTES = 2**24  # a zarr.json
MEMBER_BYTES = 2**28  # an array in an .npz file, which is read as a whole
CHUNK_BYTES = 2**30  # a chunk of a Zarr array, which each process reads as a whole
LONGEST, MOST = 10**8, 10**6  # frames and sequences of an array: a header may claim any number
CHUNK_CACHE_BYTES = 2**26  # neighbouring frames may lie in one chunk
MOVING_MNIST = "mnist_test_seq.npy"  # the published file, whose axes are TNHW
MOVING_MNIST_SHAPE = 20, 64, 64  # its T, H, W


@dataclasses.dataclass(frozen=True)
class Sequence(Video):
    """One sequence of an array.

    `member`: the array's name in an .npz file, else "". `item`: the sequence's index along axis N.
    `axes`: one letter for each axis of the array, out of N (sequences), T, H, W, C.
    """

    member: str
    item: int
    axes: str

    def decode(self, numbers):
        array = open_array(self.path, self.member)
        for number in numbers:
            try:
                yield to_frame(pick(array, self.axes, self.item, number), self.axes)
            except ValueError as error:
                yield BadFrame(self.path, f"frame {number}: {reason(error)}")


def open_sequences(path, name, digest, skip, look, axes=None):
    """All sequences of an array file or folder, as a list of Video.

    `axes` says what the axes of arrays of its length are; without it they are guessed.
    `skip(path, reason)` is called for each array of which that fails, or that holds no frames.
    BadFrame if none has as many axes as videos have.
    """
    videos, refused = [], []
    for member in members(path):
        full = f"{name}/{member}" if member else name
        try:
            array = open_array(path, member)
            if array.ndim in RANKS:  # else often labels, beside videos
                videos += of_one_array(array, path, member, full, digest, look, axes)
        except BadFrame as bad:
            refused.append(bad)
    if not videos and not refused:
        raise BadFrame(path, f"an array of {array.shape} is no video; 3 to 5 axes make one")
    for bad in refused:
        skip(bad.path, bad.reason)
    return videos


def of_one_array(array, path, member, name, digest, look, axes):
    """The sequences of an open array, a list of Video; BadFrame if it holds no frames."""
    order = axes if axes and len(axes) == array.ndim else guess_axes(path.name, array.shape)
    if order is None:
        problem = f"axes of {array.shape} are unclear; say --axes TNHW or the like"
        raise BadFrame(path / member, problem)
    extent = dict(zip(order, array.shape, strict=True))
    check_array(path / member, array, extent)
    check_floats(path / member, array, order)
    names = [f"{name}/{item}" for item in range(extent["N"])] if "N" in extent else [name]
    shape, ident = (extent["H"], extent["W"]), f"{digest} {order}"  # of other axes, other frames
    return [
        Sequence(path, full, extent["T"], shape, ident, member, item, order, look=look)
        for item, full in enumerate(names)
    ]


def check_array(path, array, extent):
    """BadFrame unless an open array holds pixels of frames that can be read.

    extent: {letter of an axis: its length}.
    """
    dtype = dtype_of(array)
    if dtype.newbyteorder("=") not in PIXEL_TYPES:
        raise BadFrame(path, f"holds {dtype}, not pixels; make them uint8")
    if extent.get("C", 1) not in COLOURS or 0 in array.shape:
        raise BadFrame(path, f"no frames with 1, 3 or 4 channels in an array of {array.shape}")
    if extent["H"] * extent["W"] > MAX_PIXELS:
        size = describe_size((extent["H"], extent["W"]))
        raise BadFrame(path, f"frames of {size}, more than {MAX_PIXELS} pixels; make them smaller")
    if (chunk := measure_chunk(array)) > CHUNK_BYTES:
        cure = "save it in smaller ones, such as a frame each"
        raise BadFrame(path, f"chunks of {chunk} bytes, each read as a whole; {cure}")
    if extent.get("N", 1) > MOST or extent.get("N", 1) * extent["T"] > LONGEST:
        raise BadFrame(path, f"claims a shape of {array.shape}, implausibly many frames")


def check_floats(path, array, axes):
    """BadFrame unless CHECKED frames, spread over an open array of floats, are in [0, 1].

    Dark frames of a video from 0 to 255 would otherwise be taken for bright ones.
    """
    if dtype_of(array).kind != "f":
        return
    extent = dict(zip(axes, array.shape, strict=True))
    for number in evenly(extent.get("N", 1) * extent["T"], CHECKED):
        with contextlib.suppress(ValueError):  # a damaged frame is told when its turn comes
            values = pick(array, axes, *divmod(int(number), extent["T"]))
            values = values[np.isfinite(values)]  # and so are others
            if values.size and (problem := find_problem(values)):
                raise BadFrame(path, f"frame {number}: {problem}")


def dtype_of(array):
    """NumPy's dtype of an open array."""
    return np.dtype(getattr(array.dtype, "numpy_dtype", array.dtype))


def pick(array, axes, item, number):
    """The values of one frame of an open array, its axes as they are."""
    index = {"N": item, "T": number}
    return np.asarray(array[tuple(index.get(axis, slice(None)) for axis in axes)])


def guess_axes(name, shape):
    """The letters of the axes of an array of this shape, in a file of this name; None if they are
    ambiguous.

    An axis of length 1, 3 or 4 where channels usually are is taken for them; not so in
    (N, 4, H, W), which may as well be sequences of four grey frames. Three axes are a grey video,
    but for what looks like one picture, (H, W, 1, 3 or 4).
    """
    if name == MOVING_MNIST and is_moving_mnist(shape):
        return "TNHW"
    colour_first, colour_last = shape[-3] in COLOURS, shape[-1] in COLOURS
    if len(shape) == 3:
        return None if colour_last else "THW"
    if colour_last:
        return "NTHWC"[-len(shape) :]
    if colour_first and (len(shape) == 5 or shape[1] != 4):
        return "NTCHW"[-len(shape) :]
    return None


def is_moving_mnist(shape):
    """Whether an array of this shape can be the published test set."""
    return len(shape) == 4 and (shape[0], *shape[2:]) == MOVING_MNIST_SHAPE


def is_array(folder):
    """Whether a folder is a Zarr array, by one of MARKERS in it, and not a group of arrays."""
    if not any((folder / marker).is_file() for marker in MARKERS):
        return False
    return read_metadata(folder).get("node_type") != "group"


def kind(folder):
    """The attribute "kind" of a Zarr array; None if it has none."""
    attributes = read_metadata(folder).get("attributes")
    return attributes.get("kind") if isinstance(attributes, dict) else None


def read_metadata(folder):
    """The zarr.json of a folder as a dict; empty if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_file(folder / "zarr.json", HEADER_BYTES))
        return found if isinstance(found, dict) else {}
    return {}


def members(path):
    """The names of the arrays in an .npz file, without those that cannot be of pixels unless all
    are; [""] for a file or folder that is one array."""
    if path.suffix.lower() != ".npz":
        return [""]
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    except Exception as error:  # damaged files raise anything at all
        raise BadFrame(path, f"cannot be read ({reason(error)})") from None
    if not found:
        raise BadFrame(path, "holds no array")
    largest = max(info.file_size for info in found)
    if largest > MEMBER_BYTES:
        cure = "save it as .npy or Zarr, which can be read in parts"
        raise BadFrame(path, f"holds an array of {largest} bytes; {cure}")
    names = [info.filename.removesuffix(".npy") for info in found]
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1:
        raise BadFrame(path, f"holds {count} arrays called {name}; give each a name of its own")
    return [name for name in names if not is_no_pixels(path, name)] or names


def is_no_pixels(path, member):
    """Whether an array of an .npz file is of NO_PIXELS, by its header; False if it is damaged."""
    with (
        contextlib.suppress(Exception),  # damaged files raise anything at all
        zipfile.ZipFile(path) as archive,
        archive.open(f"{member}.npy") as file,
    ):
        first = np.lib.format.read_magic(file) == (1, 0)
        header = "read_array_header_1_0" if first else "read_array_header_2_0"
        _, _, dtype = getattr(np.lib.format, header)(file)
        return dtype.kind in NO_PIXELS
    return False


def open_array(path, member):
    """An array that reads from its file only what is indexed; BadFrame if it cannot be opened."""
    try:
        if path.is_dir():
            return open_zarr(path)
        with np.errstate(all="ignore"):  # NumPy would warn of a huge shape before it refuses it
            if member:
                return open_member(path, member)
            return np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
    except Exception as error:  # damaged files raise anything at all
        message = reason(error).partition(" [tensorstore_spec")[0]
        raise BadFrame(path / member, f"cannot be read ({message})") from None


@functools.lru_cache(maxsize=1)
def open_member(path, member):
    """An array of an .npz file, read as a whole and cached until another one is read."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@functools.lru_cache(maxsize=1)
def open_zarr(path):
    """A Zarr array of any version, as a tensorstore."""
    import tensorstore  # imported late: it takes a while, and most videos are no arrays

    kvstore = {"driver": "file", "path": f"{os.path.abspath(path)}{os.sep}"}
    spec = {"driver": "auto", "kvstore": kvstore}

    def open_caching(room):
        context = tensorstore.Context({"cache_pool": {"total_bytes_limit": room}})
        return tensorstore.open(spec, read=True, context=context).result()

    array = open_caching(CHUNK_CACHE_BYTES)
    room = 2 * measure_chunk(array)  # with less, a large chunk would be read anew for each frame
    return open_caching(room) if room > CHUNK_CACHE_BYTES else array


def measure_chunk(array):
    """Bytes of a chunk of an open Zarr array, which is read as a whole; 0 for a NumPy array."""
    if isinstance(array, np.ndarray):
        return 0
    return math.prod(array.chunk_layout.read_chunk.shape) * array.dtype.numpy_dtype.itemsize


def to_frame(values, axes):
    """Values of one frame, with the axes of `axes` but N and T -> uint8 (H, W, 1 or 3).

    bool becomes 0 and 255, uint16 is scaled to its full range, floats must round to
    levels of [0, 1], else ValueError; alpha is dropped.
    """
    left = [axis for axis in axes if axis not in "NT"]
    values = np.moveaxis(values, left.index("C"), 2) if "C" in left else values[..., None]
    values = values[..., :3]  # drops alpha
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype == bool:
        return values * np.uint8(255)
    if values.dtype == np.uint16:
        return (values // 257).astype(np.uint8)
    if problem := find_problem(values):
        raise ValueError(problem)
    return (values * 255).round().clip(0, 255).astype(np.uint8)


def find_problem(values):
    """Why floats do not round to levels of [0, 1], with the cure, as text; None if they do."""
    low, high = float(values.min()), float(values.max())
    if math.isnan(low):
        count = int(np.isnan(values).sum())
        return f"{count} of {values.size} values are not numbers; make them 0"
    if low < -ROUNDING or high > 1 + ROUNDING:
        found = f"{values.dtype.name} values from {low:g} to {high:g}, not 0..1"
        return f"{found}; {cure_range(low, high)}"
    return None


def cure_range(low, high):
    """What to do with floats from `low` to `high`, of one frame, that they be in [0, 1]."""
    if low >= -1 - ROUNDING and high <= 1 + ROUNDING:
        return "add 1 and halve them if -1 is black"
    if low >= -ROUNDING and high <= 256:
        return "divide them by 255 if that is white"
    return "scale them"
