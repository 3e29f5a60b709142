"""Where things lie, and what a run does unless told otherwise: literals only."""

DATA_DIR = "data"
TRAIN_DIR = "data/images/train"
TEST_DIR = "data/images/test"
TRAIN_CLIPS_DIR = "data/trainclips"
TEST_CLIPS_DIR = "data/testclips"
RESULT_DIR = "result"

# Clips, as the published process_data.py of the Ms. Pac-Man ports cuts them.
CLIPS = 500_000
HISTORY = 4  # past frames the model sees
HORIZON = 1  # future frames kept with them
PATCH = 32  # height and width of a clip, pixels
MIN_MOVEMENT = 100.0  # sum of squared frame differences over the crop, frames in [-1, 1]
EXEMPT = 0.05  # share of clips that need not move
SEED = 0
