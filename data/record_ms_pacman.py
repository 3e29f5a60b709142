"""Record games of Ms. Pac-Man as numbered PNG frames.

    python data/record_ms_pacman.py --train 20 --test 5

writes data/images/{train,test}/episode_0001/frame_00001.png, RGB, 210 high and 160 wide. An
episode is one game, from when things move (after the opening tune) to its end or --frames.
The emulator and the game come with `ale-py` (GPL), which this script alone needs.
"""

import multiprocessing
import shutil
import sys
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, add_out
from utils.errors import UserError, one_line, writing_to
from utils.signals import all_as_ctrl_c, leave_to_parent, status_of
from utils.usage import Parser, number, whole
from utils.workers import cores

NOTHING, UP, RIGHT, LEFT, DOWN = 0, 2, 3, 4, 5  # the emulator's numbers for the joystick
OPENING = 264  # emulator frames of tune in which nothing leaves its place
PLACE = [10, 16]  # bytes of the console's memory: column and row of Ms. Pac-Man
WHIM = 0.1  # probability at each step that the player who keeps moving turns without need
PNG_LEVEL = 1  # 2.6 kB in 0.47 ms; level 6: 1.6 kB in 0.93 ms, but a file takes 4 kB of disk anyway


def turn_at_random(direction, stopped, rng):
    """Any direction at each step."""
    return rng.choice([UP, RIGHT, LEFT, DOWN])


def keep_moving(direction, stopped, rng):
    """Go straight on, but turn aside where stopped, or on a whim."""
    # The whims make games differ: without them a test game repeated one of 20 for 244 frames.
    turns = stopped or rng.random() < WHIM
    sideways = [LEFT, RIGHT] if direction in (UP, DOWN) else [UP, DOWN]
    return rng.choice(sideways) if turns else direction


PLAYERS = {"keep-moving": keep_moving, "random": turn_at_random}


def import_emulator():
    """The `ale_py` module, without its banner; a `UserError` where it is not installed."""
    try:
        import ale_py.roms
    except ImportError as error:
        cure = "pip install -r requirements-pacman.txt"
        raise UserError(f"no Ms. Pac-Man emulator ({error}); run {cure}") from None
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py


def seeds(seed, split, number):
    """(emulator's seed, player's Generator) of an episode; the emulator's is odd for test alone."""
    sequence = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), number))
    drawn = int(sequence.generate_state(1)[0]) >> 2  # 30 bits: the emulator takes 31
    return 2 * drawn + SPLITS.index(split), np.random.default_rng(sequence)


def step(game, direction, skip):
    """Hold `direction` for `skip` >= 2 emulator frames -> the last two's maximum, (H, W, 3) uint8.

    The console draws each ghost in some frames only: all four are visible in 14% of single frames
    and in 51% of such maxima (94% of maxima of four, which smear what moves).
    """
    for _ in range(skip - 1):
        game.act(direction)
    before = game.getScreenRGB()
    game.act(direction)
    return np.maximum(before, game.getScreenRGB())


def play(options, split, number):
    """Yield the frames of one whole game, (210, 160, 3) uint8 each."""
    ale_py = import_emulator()
    emulator_seed, rng = seeds(options.seed, split, number)
    game = ale_py.ALEInterface()
    game.setInt("random_seed", emulator_seed)
    game.setFloat("repeat_action_probability", options.sticky)
    game.loadROM(ale_py.roms.get_rom_path("ms_pacman"))
    for _ in range(OPENING):
        game.act(NOTHING)
    direction, place = turn_at_random(NOTHING, True, rng), None
    while not game.game_over():
        before, place = place, game.getRAM()[PLACE].tolist()
        direction = int(PLAYERS[options.player](direction, place == before, rng))
        yield step(game, direction, options.frame_skip)


def record(options, aside, episode):
    """Write one (split, number) below `aside`, then move it to its place -> frames written."""
    split, number = episode
    folder = Path(aside, split, f"episode_{number:04d}")
    folder.mkdir(parents=True)
    for count, frame in enumerate(islice(play(options, split, number), options.frames), 1):
        Image.fromarray(frame).save(folder / f"frame_{count:05d}.png", compress_level=PNG_LEVEL)
    folder.rename(Path(options.out, split, folder.name))
    return count


def make_room(options):
    """Make the directories of the splits to record; refuse old episodes, or remove them."""
    splits = [Path(options.out, split) for split in SPLITS if getattr(options, split)]
    old = sorted(episode for split in splits for episode in split.glob("episode_*"))
    if old and not options.overwrite:
        cure = "add --overwrite to replace all such, or give another --out"
        raise UserError(f"{old[0]} is there already; {cure}")
    for episode in old:
        shutil.rmtree(episode)
    for split in splits:
        split.mkdir(parents=True, exist_ok=True)


def parse():
    parser = Parser("Record games of Ms. Pac-Man as frames to learn from (needs ale-py).")
    for flag, default, kind, meaning in (
        ("train", 20, whole(0, 9999), "episodes to train on"),
        ("test", 5, whole(0, 9999), "episodes to test on; they never share a seed with train"),
        ("frames", 500, whole(2, 99999), "frames of an episode; fewer if its game ends before"),
        ("frame-skip", 4, whole(2, 60), "emulator frames (60 a second) per picture"),
        ("sticky", 0.25, number(0, 1), "probability that an emulator frame repeats an action"),
        ("seed", 0, whole(0, 2**63), "same seed, same bytes, for any number of workers"),
        ("workers", cores(), whole(1, 999), "processes"),
    ):
        parser.add_argument(f"--{flag}", type=kind, default=default, metavar="N", help=meaning)
    player = "who plays: keep-moving turns where it is stopped, seldom elsewhere"
    parser.add_argument("--player", choices=PLAYERS, default="keep-moving", help=player)
    add_out(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing episodes")
    return parser.parse_args()


@one_line
def main():
    options = parse()
    episodes = [(split, n + 1) for split in SPLITS for n in range(getattr(options, split))]
    if not episodes:
        raise UserError("--train and --test are both 0; give one of them at least 1")
    import_emulator()  # fail before anything is removed
    workers = min(options.workers, len(episodes))
    started = time.perf_counter()
    try:
        with writing_to(options.out), all_as_ctrl_c():
            make_room(options)
            with (
                tempfile.TemporaryDirectory(prefix=".unfinished-", dir=options.out) as aside,
                multiprocessing.get_context("spawn").Pool(workers, leave_to_parent) as pool,
            ):
                done = pool.imap_unordered(partial(record, options, aside), episodes)
                frames = list(tqdm(done, "recording", len(episodes), unit="episode", disable=None))
    except KeyboardInterrupt as interrupt:
        print("stopped; the episodes finished so far stay", file=sys.stderr)
        sys.exit(status_of(interrupt))
    seconds = time.perf_counter() - started
    ended = sum(count < options.frames for count in frames)
    print(
        f"{options.out}: {options.train} train and {options.test} test episodes, "
        f"{sum(frames):,} frames, {seconds:.0f} s; "
        f"games that ended before {options.frames} frames: {ended}"
    )


if __name__ == "__main__":
    main()
