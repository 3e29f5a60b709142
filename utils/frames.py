"""Video frames as uint8 arrays, wherever they come from."""

import dataclasses
import functools
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from utils.errors import UserError
from utils.names import printable

MAX_PIXELS = Image.MAX_IMAGE_PIXELS  # of a frame: larger ones are taken for decompression bombs
DIGITS = re.compile(r"(\d+)")
NUMBER = r"([1-9]\d{0,8})"
FLAGS = re.compile(rf"--step {NUMBER}(?: --resize {NUMBER}(?: {NUMBER})?)?")


class BadFrame(UserError):
    """A frame that cannot be used; `path` and `reason` say which and why."""

    def __init__(self, path, reason):
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self):
        return f"{printable(self.path)}: {self.reason}; repair or remove it"


@dataclasses.dataclass(frozen=True)
class Look:
    """How the frames of a video are preprocessed: the options --step, --gray and --resize.

    `step`: only every step-th frame is taken, counted from the first frame, or back from the last
    if `to_end`. `gray`: frames get one channel. `resize`: (height, width), (pixels,) for the
    shorter side, or None to keep the size.
    """

    step: int = 1
    gray: bool = False
    resize: tuple[int, ...] | None = None
    to_end: bool = False

    @property
    def flags(self):
        """The options as text, without --gray, which shows in the clips' channels."""
        step = f"--step {self.step}"
        return f"{step} --resize {' '.join(map(str, self.resize))}" if self.resize else step

    @classmethod
    def of_flags(cls, flags):
        """The Look, not gray, whose `flags` are this text; None if it is no such text."""
        if not (found := FLAGS.fullmatch(flags)):
            return None
        step, *resize = (int(number) for number in found.groups() if number)
        return cls(step, resize=tuple(resize) or None)

    def size(self, height, width):
        """The (height, width) that frames of this size get."""
        if self.resize is None:
            return height, width
        if len(self.resize) == 2:
            return self.resize
        scale = self.resize[0] / min(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def apply(self, frame):
        """uint8 (H, W, 1 or 3) -> uint8 (H', W', C), C = 1 if gray, else 3."""
        size = self.size(*frame.shape[:2])
        if self.gray and frame.shape[2] == 3:
            frame = np.asarray(Image.fromarray(frame).convert("L"))[..., None]
        if size != frame.shape[:2]:
            channels = [Image.fromarray(channel) for channel in np.moveaxis(frame, 2, 0)]
            scaled = [c.resize(size[::-1], Image.Resampling.BICUBIC) for c in channels]
            frame = np.stack([np.asarray(channel) for channel in scaled], axis=2)
        return frame if self.gray or frame.shape[2] == 3 else np.repeat(frame, 3, axis=2)


@dataclasses.dataclass(frozen=True)
class Video:
    """A numbered sequence of frames; a subclass for each kind of source defines `decode`.

    `path`: named in messages. `name`: unique among the videos of a run. `count`, `shape`: number of
    frames and their (height, width) on disk. `digest`: identifies these frames. `look`: how they
    are preprocessed; len(), `size` and all frames given out are those after it.
    """

    path: Path
    name: str
    count: int
    shape: tuple[int, int]
    digest: str
    look: Look = dataclasses.field(default=Look(), kw_only=True)

    def __len__(self):
        return -(-self.count // self.look.step)

    @property
    def size(self):
        """(height, width) of the frames after `look`."""
        return self.look.size(*self.shape)

    def __iter__(self):
        """Yield every frame, uint8 (H, W, C); BadFrame at the first unusable one."""
        return map(good, self.frames(0))

    def read(self, first, stop):
        """Frames `first` to `stop` as a list of uint8 (H, W, C); BadFrame if one is unusable."""
        if stop > len(self):
            raise BadFrame(self.path, f"ends after {len(self)} frames")
        return [good(frame) for frame in self.frames(first, stop)]

    def frames(self, first, stop=None):
        """Yield frames from number `first` on, in order: uint8 (H, W, C), or the BadFrame there."""
        step = self.look.step
        begin = (self.count - 1) % step if self.look.to_end else 0
        numbers = range(begin, self.count, step)[first:stop]
        for number, frame in zip(numbers, self._decode(numbers), strict=False):
            if isinstance(frame, BadFrame):
                yield frame
            elif frame.shape[:2] != self.shape:
                found, usual = map(describe_size, (frame.shape[:2], self.shape))
                reason = f"{found} pixels, the rest of its video {usual}"
                yield BadFrame(self.place(number), reason)
            else:
                yield self.look.apply(frame)

    def _decode(self, numbers):
        """`decode`, with a BadFrame for each frame that it does not deliver."""
        count, missing = 0, BadFrame(self.path, "has fewer frames than it claims")
        try:
            for frame in self.decode(numbers):
                yield frame
                count += 1
        except BadFrame as bad:  # the file as a whole cannot be read
            missing = bad
        yield from (missing for _ in numbers[count:])

    def place(self, number):
        """The file to name in messages about frame `number` on disk."""
        return self.path

    def decode(self, numbers):
        """Yield uint8 (H, W, 1 or 3), or a BadFrame, for each number in the range `numbers`.

        Where it ends early, the file turns out to have fewer frames than `count`.
        """
        raise NotImplementedError


def good(frame):
    """Return a frame, raise a BadFrame."""
    if isinstance(frame, BadFrame):
        raise frame
    return frame


def natural(name):
    """A sort key that puts frame2 before frame10."""
    parts = DIGITS.split(name)
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def warn_left_out(path, reason):
    """Say in one line on stderr, above a bar, that a file is left out."""
    tqdm.write(f"warning: {printable(path)}: {reason}; left out", file=sys.stderr)


warn_once = functools.cache(warn_left_out)


def describe_size(size):
    """(height, width) as text, 210x160."""
    return "x".join(map(str, size))
