"""Make Moving MNIST: two digits that bounce in a frame of 64x64.

    python data/moving_mnist.py --digits train-images-idx3-ubyte.gz \\
        --test-digits t10k-images-idx3-ubyte.gz --train 10000 --test 1000

writes data/images/{train,test}/moving_mnist.npy, uint8 (N, T, 64, 64, 1), by the rules of the
published generator (Srivastava, Mansimov, Salakhutdinov, ICML 2015). Without --digits they are
drawn with a font; without --test-digits the test sequences show the digits that are trained on.
--published mnist_test_seq.npy puts the published test set beside them.
"""

import gzip
import sys
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.arrays import MOVING_MNIST, is_moving_mnist
from utils.collection import SPLITS, Collection, add_out
from utils.errors import UserError, reason, report_errors, warn
from utils.files import read_file
from utils.usage import Parser, file_path, integer

# Height and width of frames and of digits, pixels; a digit's step, as a share of its room to move.
SIDE, DIGIT, STEP = 64, 28, 0.1
DIGITS = 2
MAGIC = bytes([0, 0, 8, 3])  # an idx file of bytes with three axes
SIZES = range(20, 31, 2)  # of the font
MANY = integer(0, 10**7)


def read_digits(path):
    """The pictures of an idx file, gzipped or not, uint8 (N, 28, 28)."""
    try:
        content = read_file(path)
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        shape = np.frombuffer(content[4:16], ">u4")
        if content[:4] != MAGIC or tuple(shape[1:]) != (DIGIT, DIGIT) or not shape[0]:
            raise ValueError("it does not begin as an idx file of 28x28 pictures does")
        return np.frombuffer(content, np.uint8, offset=16).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        wanted = "give MNIST's images-idx3-ubyte"
        raise UserError(f"{path} has no digits ({reason(error)}): {wanted}") from None


def check_published(path):
    """UserError for a file that does not have the form of the published test set."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        if array.dtype != np.uint8 or not is_moving_mnist(array.shape):
            raise ValueError(f"{array.dtype} {array.shape}, not uint8 (20, N, {SIDE}, {SIDE})")
    except Exception as error:  # damaged files raise anything at all
        problem = f"{path} has no sequences ({reason(error)})"
        raise UserError(f"{problem}: give {MOVING_MNIST}") from None


def draw_digits():
    """The ten digits in several sizes of a font, uint8 (N, 28, 28)."""
    pictures = []
    for size in SIZES:
        font = ImageFont.load_default(size)
        for digit in "0123456789":
            picture = Image.new("L", (DIGIT, DIGIT))
            middle = (DIGIT / 2, DIGIT / 2)
            ImageDraw.Draw(picture).text(middle, digit, fill=255, font=font, anchor="mm")
            pictures.append(np.asarray(picture))
    return np.stack(pictures)


def bounce(frames, rng):
    """Top left corners (y, x) of a digit that bounces off the edges, pixels, int (frames, 2)."""
    position, angle = rng.random(2), rng.random() * 2 * np.pi
    velocity, corners = np.array([np.sin(angle), np.cos(angle)]) * STEP, []
    for _ in range(frames):
        position = position + velocity
        velocity = np.where((position <= 0) | (position >= 1), -velocity, velocity)
        position = position.clip(0, 1)
        corners.append(position * (SIDE - DIGIT))
    return np.array(corners).astype(int)


def make_sequence(digits, frames, rng):
    """Two digits that bounce, uint8 (frames, 64, 64); each pixel is the brighter of the two."""
    film = np.zeros((frames, SIDE, SIDE), np.uint8)
    for _ in range(DIGITS):
        digit = digits[rng.integers(len(digits))]
        for frame, (y, x) in zip(film, bounce(frames, rng), strict=True):
            place = frame[y : y + DIGIT, x : x + DIGIT]
            np.maximum(place, digit, out=place)
    return film


def write_films(films, shape, file):
    """Write films, uint8, to a .npy file of `shape` one by one, without holding all in memory."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for film in films:
        file.write(film.tobytes())


def parse():
    parser = Parser(__doc__)
    text = "MNIST's training images, idx or idx.gz; without them digits of a font move"
    parser.add_argument("--digits", type=file_path, help=text)
    text = "its test images, to test on; without them the digits of the training"
    parser.add_argument("--test-digits", type=file_path, help=text)
    parser.add_argument("--train", type=MANY, default=10_000, help="sequences to train on")
    text = "sequences to test on (default: 1000, none with --published)"
    parser.add_argument("--test", type=MANY, help=text)
    parser.add_argument("--frames", type=integer(1, 9999), default=20, help="of a sequence")
    parser.add_argument("--published", type=file_path, help="mnist_test_seq.npy, to test on")
    parser.add_argument("--seed", type=integer(0), default=0, help="same seed, same bytes")
    add_out(parser)
    options = parser.parse_args()
    if options.test is None:
        options.test = 0 if options.published else 1_000
    if not (options.train or options.test or options.published):
        raise UserError("--train and --test are both 0; give one of them at least 1")
    return options


@report_errors
def main():
    options = parse()
    if options.published:
        check_published(options.published)
    if not options.digits and options.train + options.test:
        warn("digits of a font, not MNIST's: give those by --digits train-images-idx3-ubyte.gz")
    digits = read_digits(options.digits) if options.digits else draw_digits()
    unseen = read_digits(options.test_digits) if options.test_digits else digits
    with Collection(options) as collection:
        for number, (split, shown) in enumerate(zip(SPLITS, (digits, unseen), strict=True)):
            if not (count := getattr(options, split)):
                continue
            path = options.out / split / "moving_mnist.npy"
            rng = np.random.default_rng((options.seed, number))
            films = (make_sequence(shown, options.frames, rng) for _ in range(count))
            shape = count, options.frames, SIDE, SIDE, 1
            write = partial(write_films, tqdm(films, split, count, disable=None), shape)
            collection.write_file(path, write)
            print(f"{path}: {count} sequences of {options.frames} frames")
        if options.published:
            collection.add_file(options.published, options.out / "test" / MOVING_MNIST)


if __name__ == "__main__":
    main()
