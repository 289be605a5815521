"""The parts of an evaluation: before each a line says how long it will take, after each its results are saved."""

import time
from collections.abc import Callable

import torch

from dream.common.errors import InputError
from dream.evaluation.config import EvalConfig
from dream.evaluation.evaluator import Evaluator, sticky_random_actions
from dream.evaluation.probe_tests import CLIP_FRAMES, IDM_FRAMES
from dream.evaluation.report import EvaluationReport

PROBE_STEP = 3.0  # generated frames that take about as long as a training step of a probe
TEST_FRAMES = 4  # generated to measure the speed


class Parts:
    """Runs the parts of an evaluation. `work`: of each part by name in the order of running, about how many generated
    frames take as long. The speed is measured first and corrected after each part."""

    def __init__(self, report: EvaluationReport, work: dict[str, float], frame_s: float) -> None:
        self.report, self.work, self.frame_s = report, work, frame_s
        self.finished: list[str] = []
        self.took_s = 0.0
        print(
            f"{len(work)} parts, {duration(sum(work.values()) * frame_s)} in all; Ctrl-C keeps finished parts"
        )

    def run(self, name: str, measure: Callable[[], dict]) -> None:
        """Runs a part and saves the results that it returns."""
        number = list(self.work).index(name) + 1
        print(f"{number} of {len(self.work)}: {name}, {duration(self.work[name] * self.frame_s)}", flush=True)
        began = time.monotonic()
        self.report.update(**measure())
        self.finished.append(name)
        self.took_s += time.monotonic() - began
        done = sum(self.work[finished] for finished in self.finished)
        self.frame_s = self.took_s / done if done else self.frame_s


def expected_work(config: EvalConfig, only_long: bool, has_agent: bool) -> dict[str, float]:
    """Of each part by name, about how many generated frames take as long."""
    probe, rollouts = PROBE_STEP * config.probe_steps, config.num_rollouts
    longest = max(config.rollout_length, config.extra_horizon)
    clips = 4 * config.c2st_clips * CLIP_FRAMES  # of training and test, for each of three models
    work = {
        "next frame": 15 * config.num_next_frames,  # 1 + 2 + 4 + 8 sampling steps
        "rollouts": rollouts * longest,
        "rewards": config.num_next_frames,
        "inverse dynamics": probe + 2 * rollouts * IDM_FRAMES,
        "state probe": 2 * probe + has_agent * config.num_agent_rollouts * config.agent_frames,
        # the classifiers of the bands take together as long as one of all rows
        "two-sample test": 3 * clips + 5 * 6 * probe,
    }
    work = {} if only_long else work
    return {**work, "long rollouts": config.num_long_rollouts * max(config.long_horizons)}


def duration(seconds: float) -> str:
    """As it is said before something takes so long."""
    if seconds < 55:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} minute{'s' if seconds >= 90 else ''}"


def seconds_per_frame(evaluator: Evaluator) -> float:
    """Seconds that a generated frame takes, in a full batch and with decoding; 0 if no episode is long enough."""
    L = evaluator.unet.config.context
    try:
        starts = evaluator.windows(evaluator.held_out, L + 1, 16, "measuring the speed")
    except InputError:
        return 0.0
    actions = torch.cat(
        [
            evaluator.actions(starts, L),
            sticky_random_actions(len(starts), TEST_FRAMES, evaluator.unet.config.num_actions, 0),
        ],
        dim=1,
    )
    evaluator.rollout(starts, actions[:, :L], "warming up")
    began = time.monotonic()
    evaluator.decode(evaluator.rollout(starts, actions[:, : L + TEST_FRAMES - 1], "measuring the speed"))
    return (time.monotonic() - began) / (len(starts) * TEST_FRAMES)
