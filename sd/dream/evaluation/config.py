"""How much sd/evaluate_sd.py evaluates: in full, and with --quick."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EvalConfig:
    """How much is evaluated."""

    num_next_frames: int  # windows
    num_rollouts: int
    rollout_length: int  # frames; the state probe evaluates up to 5 s
    horizons: tuple[int, ...]  # frames into a rollout that are reported
    extra_horizon: int  # one further horizon, for which longer rollouts are generated (0 = none)
    probe_steps: int  # training steps of the smallest probe
    c2st_clips: int  # test clips of each class in the two-sample test
    num_long_rollouts: int
    long_horizons: tuple[int, ...]  # frames
    num_agent_rollouts: int
    agent_frames: int


FULL = EvalConfig(
    num_next_frames=2048,
    num_rollouts=64,
    rollout_length=80,
    horizons=(1, 4, 16, 64),
    extra_horizon=256,
    probe_steps=1200,
    c2st_clips=512,
    num_long_rollouts=64,
    long_horizons=(100, 1000, 10_000),
    num_agent_rollouts=32,
    agent_frames=1200,
)
QUICK = replace(
    FULL,
    num_next_frames=256,
    extra_horizon=0,
    probe_steps=300,
    c2st_clips=128,
    num_long_rollouts=16,
    long_horizons=(100, 500),
    num_agent_rollouts=8,
    agent_frames=1050,
)
