"""Default paths and options of the three scripts: literals only."""

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
# How much more a frame must change than its neighbours, as a share of full scale, to be a scene
# cut; as FFmpeg's scdet has it.
SCENE_CUT = 0.1
STILL = 0.01  # a folder of videos in which a smaller share of crops moves has little motion
SEED = 0

# Training. Batch size, loss weights and the rates of SGD are the paper's.
ARCH = "multiscale"
ITERATIONS = 500_000
BATCH_SIZE = 8
OPTIMIZER = "adam"
LR_GEN = {"adam": 2e-4, "rmsprop": 2e-4, "sgd": 0.04}
LR_DIS = {"adam": 2e-5, "rmsprop": 2e-5, "sgd": 0.02}
LOSS = "l2=1,gdl=1,adversarial=0.05"
ALPHA = 1.0  # exponent of the gradient difference loss
CLIP_GRADIENTS = 0.0  # largest norm of a network's gradient, 0 for no limit
ROLLBACKS = 0  # how often a run that diverges may return to its last snapshot
SNAPSHOT_EVERY = 2000  # iterations
SNAPSHOTS_KEPT = 3
REPORT_EVERY = 100
VALIDATE_EVERY = 500

# Types in which convolutions and linear layers may multiply; by default tf32 on a GPU, float32 on a
# CPU.
DTYPES = "float32", "tf32", "bfloat16", "float16"

# How learning rates may change in the course of a run.
SCHEDULES = "constant", "cosine", "onecycle"
SCHEDULE = "constant"

# Testing.
FRAMES = 8  # frames to predict, recursively
WINDOWS = 4  # starting points in each video
GIFS = 100  # videos that a GIF is written of
LEADERBOARD_DIR = "leaderboard"
