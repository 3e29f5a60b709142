"""What a clip is to be, and how many of them make a file."""

import dataclasses
import math

MOST_FRAMES, MOST_PIXELS = 1000, 2**14  # of a clip's past or future, of its height or width
SHARD_BYTES = 2**25  # uncompressed; a worker holds as much in memory before it writes
SHARD_CLIPS = 2**10  # at most: with more small clips in a shard, few workers would have work


def clips_per_shard(shape):
    """How many clips of a shape (T, C, H, W) one file of a store holds, and one worker makes."""
    return max(1, min(SHARD_CLIPS, SHARD_BYTES // math.prod(shape)))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a clip is: how many past and future frames, of which (height, width), moving how much.

    `min_movement`: the sum of squared differences between successive frames, in [-1, 1], that it
    exceeds, but for the share `exempt` of all clips; `seed` decides which crops are drawn;
    `scene_cut`: how much more a frame must change than its neighbours, as a share of full scale, to
    be a scene cut, not motion; `drop_copies`: leave out frames that are near copies of the one
    before.
    """

    history: int
    horizon: int
    size: tuple[int, int]
    min_movement: float
    exempt: float
    seed: int
    gray: bool = False
    scene_cut: float = 1.0
    drop_copies: bool = False

    @property
    def frames(self):
        """Number of frames in a clip, past and future."""
        return self.history + self.horizon

    @property
    def channels(self):
        """Channels of a frame: 1 or 3."""
        return 1 if self.gray else 3

    @property
    def shape(self):
        """(T, C, H, W) of a clip."""
        return self.frames, self.channels, *self.size

    @property
    def kind(self):
        """(history, horizon, size, channels), the arguments of ClipStore.create."""
        return self.history, self.horizon, self.size, self.channels
