"""Largest values of settings that are read from files (larger ones are damage, or would take hours or all memory), and
of what is drawn; the frames that the small networks see; and the cap of PSNR."""

MAX_STEPS = 100  # sampling steps per frame
MIN_FPS, MAX_FPS = 0.1, 1000  # frames per second
MAX_CONTEXT = 64  # frames that the next one is predicted from
MAX_FRAME_SKIP = 1000  # frames of the game per decision, and frames that are merged into one picture

# Of the preview pictures of a training
MAX_ACTION_ROWS = 12  # actions that are shown
ACTION_EVERY = 4  # frames from picture to picture while an action is held
FILM_PICTURES = 8  # of a rollout that is compared with the recording

STACK = 4  # frames per observation of the agent and of the lap probe
MAX_PSNR_DB = 60.0  # for identical frames, instead of infinity, which would dominate a mean
