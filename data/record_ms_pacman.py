"""Record games of Ms. Pac-Man as numbered PNG frames.

    python data/record_ms_pacman.py --train 20 --test 5

writes data/images/{train,test}/episode_0001/frame_00001.png, RGB, 210 high and 160 wide. An
episode is one game, from the end of the opening tune, when things begin to move, to the end of the
game or --frames.
The emulator and the game come with `ale-py` (GPL), which this script alone needs.
"""

import os
import shutil
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, UNFINISHED, Collection, add_out, write_frames
from utils.errors import UserError, report_errors, writing_to
from utils.signals import exit_status, signals_as_ctrl_c
from utils.usage import Parser, integer, number
from utils.workers import cores, workers

NOTHING, UP, RIGHT, LEFT, DOWN = 0, 2, 3, 4, 5  # the emulator's joystick actions
OPENING = 264  # emulator frames of the opening tune, during which nothing moves
PLACE = [10, 16]  # addresses in the console's memory of Ms. Pac-Man's column and row
WHIM = 0.1  # probability at each step that the player keep-moving turns without need
PNG_LEVEL = 1  # 2.6 kB in 0.47 ms; level 6: 1.6 kB in 0.93 ms, but a file takes 4 kB of disk anyway


def turn_at_random(direction, stopped, rng):
    """Any direction at each step."""
    return rng.choice([UP, RIGHT, LEFT, DOWN])


def keep_moving(direction, stopped, rng):
    """Go straight on, but turn aside when stopped, or on a whim."""
    # Whims make games differ: without them a test game repeated one of 20 others for 244 frames.
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
    """(emulator's seed, player's Generator) of an episode; test episodes alone have odd seeds."""
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


def episode_folder(options, split, number):
    """Where an episode goes."""
    return options.out / split / f"episode_{number:04d}"


def record(options, episode):
    """Record an episode, (split, number), unless it is there already -> its number of frames."""
    folder = episode_folder(options, *episode)
    if folder.is_dir():
        return len(os.listdir(folder))
    return write_frames(folder, islice(play(options, *episode), options.frames), PNG_LEVEL)


def make_room(options, episodes, collection):
    """Make the folders to record in; episodes of another run are a UserError, or removed."""
    folders = [episode_folder(options, *episode) for episode in episodes]
    splits = {folder.parent for folder in folders}
    found = sorted(folder for split in splits for folder in split.glob("episode_*"))
    old = [folder for folder in found if not collection.knows(folder)]
    if old and not options.overwrite:
        cure = "add --overwrite to replace all such, or give another --out"
        raise UserError(f"{old[0]} is there already; {cure}")
    for folder in old:
        shutil.rmtree(folder)
    for split in splits:
        split.mkdir(parents=True, exist_ok=True)
    collection.note(*folders)


def record_all(options, episodes, count):
    """Record the episodes on `count` processes -> the number of frames of each."""
    try:
        with workers(count) as parallel_map:
            done = parallel_map(partial(record, options), episodes)
            return list(tqdm(done, "recording", len(episodes), unit="episode", disable=None))
    finally:
        for split in {split for split, _ in episodes}:
            for unfinished in (options.out / split).glob(f"{UNFINISHED}episode_*"):  # of workers
                shutil.rmtree(unfinished, ignore_errors=True)  # that were ended


def parse():
    parser = Parser("Record games of Ms. Pac-Man as frames to learn from (needs ale-py).")
    for flag, default, kind, meaning in (
        ("train", 20, integer(0, 9999), "episodes to train on"),
        ("test", 5, integer(0, 9999), "episodes to test on; they never share a seed with train"),
        ("frames", 500, integer(2, 99999), "frames of an episode; fewer if its game ends before"),
        ("frame-skip", 4, integer(2, 60), "emulator frames (60 a second) per picture"),
        ("sticky", 0.25, number(0, 1), "probability that an emulator frame repeats an action"),
        ("seed", 0, integer(0, 2**63), "same seed, same bytes, for any number of workers"),
        ("workers", cores(), integer(1, 999), "processes"),
    ):
        parser.add_argument(f"--{flag}", type=kind, default=default, metavar="N", help=meaning)
    player = "who plays: keep-moving turns where it is stopped, seldom elsewhere"
    parser.add_argument("--player", choices=PLAYERS, default="keep-moving", help=player)
    add_out(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing episodes")
    return parser.parse_args()


@report_errors
def main():
    options = parse()
    episodes = [(split, n + 1) for split in SPLITS for n in range(getattr(options, split))]
    if not episodes:
        raise UserError("--train and --test are both 0; give one of them at least 1")
    import_emulator()  # fail before anything is removed
    # Taken out of the options: an interrupted run may go on with another number.
    count = min(vars(options).pop("workers"), len(episodes))
    started = time.perf_counter()
    try:
        with writing_to(options.out), signals_as_ctrl_c(), Collection(options) as collection:
            make_room(options, episodes, collection)
            frames = record_all(options, episodes, count)
    except KeyboardInterrupt as interrupt:
        cure = "the episodes finished so far stay, the same command goes on"
        print(f"stopped; {cure}", file=sys.stderr)
        sys.exit(exit_status(interrupt))
    seconds = time.perf_counter() - started
    ended = sum(count < options.frames for count in frames)
    print(
        f"{options.out}: {options.train} train and {options.test} test episodes, "
        f"{sum(frames):,} frames, {seconds:.0f} s; "
        f"games that ended before {options.frames} frames: {ended}"
    )


if __name__ == "__main__":
    main()
