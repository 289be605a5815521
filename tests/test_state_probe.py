"""The state probe and the laps of the agent."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import evaluate_sd
import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.evaluation import place_probe
from dream.evaluation import state_probe as state_probe_module
from dream.evaluation.place_probe import use_lap_probe
from dream.evaluation.report import state_table
from dream.evaluation.state_probe import SECTORS, agent_laps, lap_count_on_real_frames, train_state_probe
from evaluation_helpers import TINY, CopyModel, FakeAgent, make_evaluator, save_evaluation_files
from small import moving_unet

PRETRAINED = Path(evaluate_sd.__file__).parent / "pretrained"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict:
    return save_evaluation_files(tmp_path_factory.mktemp("evaluation"))


class BrightnessProbe:
    """Stands in for the StateProbe: the track position is the brightness of the last frame, or constant."""

    numbers, angles = (), ("truth/place",)

    def __init__(self, varies: bool) -> None:
        self.varies = varies

    def predict(self, clips_u8):
        place = 2 * math.pi * self.varies * clips_u8[:, -1, 0, 0, 0] / 255
        return {"truth/place": torch.stack([place.cos(), place.sin()], dim=1)}


def test_lap_count_on_real_frames(evaluated, monkeypatch):
    monkeypatch.setattr(state_probe_module, "CONTROL_FRAMES", 40)
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    place = np.tile(np.linspace(0, 0.6, 40, dtype=np.float32), (12, 1))
    frames = np.tile(np.uint8(255 * place)[..., None, None, None], (1, 1, *evaluator.data.frames.shape[2:]))
    data = replace(evaluator.data, frames=frames, extras={"truth/place": place})
    evaluator = replace(evaluator, data=data, held_out=np.ones((12, 40), dtype=bool))
    results = lap_count_on_real_frames(evaluator, BrightnessProbe(varies=True), 3)
    laps = 3 * 4 / SECTORS
    assert results == {"predicted": laps, "recorded": laps, "windows": 3, "frames": 40}
    assert lap_count_on_real_frames(evaluator, BrightnessProbe(varies=False), 3)["predicted"] == 0
    with pytest.raises(InputError, match="no 40 frames in a row for laps"):
        lap_count_on_real_frames(
            replace(evaluator, held_out=np.zeros((12, 40), dtype=bool)), BrightnessProbe(varies=True), 3
        )


def test_a_recording_without_track_position_has_no_laps(evaluated, monkeypatch):
    """The other errors are still measured."""
    monkeypatch.setattr(state_probe_module, "CONTROL_FRAMES", 20)
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", CopyModel())
    extras = {name: array for name, array in evaluator.data.extras.items() if name != "truth/place"}
    evaluator = replace(evaluator, data=replace(evaluator.data, extras=extras))
    starts = evaluator.windows(evaluator.held_out, 4 + 20, 4, "this test")
    config, generated = replace(TINY, agent_frames=4), evaluator.real_frames(starts, 4, 20)
    results = evaluate_sd.evaluate_state_and_laps(
        config, evaluator, starts, generated, FakeAgent(), 0, Path("a.pt")
    )
    assert "heading_degrees" in results["after_1_s"]["generated"]
    assert "truth/place" in results["agent_laps"]["skipped"]


def test_the_better_probe_reads_the_place(evaluated, tmp_path, monkeypatch, capsys):
    """Frames are as bright as the place is far along the track, which the pretrained lap probe knows nothing of."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    place = np.random.default_rng(0).random(evaluator.data.actions.shape, np.float32)
    frames = np.zeros(evaluator.data.frames.shape, np.uint8) + np.uint8(255 * place)[..., None, None, None]
    data = replace(evaluator.data, frames=frames, extras={**evaluator.data.extras, "truth/place": place})
    evaluator, model_path = replace(evaluator, data=data), tmp_path / "model.pt"
    trained = train_state_probe(evaluator, 2, seed=0)
    assert use_lap_probe(evaluator, trained, model_path) == (trained, {})  # there is no laps.npz
    shutil.copy(PRETRAINED / "laps.npz", tmp_path)

    def exact_place(clips_u8):
        return BrightnessProbe(varies=True).predict(clips_u8)["truth/place"]

    exact = replace(trained, place=exact_place)
    probe, found = use_lap_probe(evaluator, exact, model_path)
    assert probe is exact and found["trained_here"] < 0.01 < found["laps_npz"]
    monkeypatch.setattr(place_probe, "place_reader", lambda network: exact_place)
    probe, found = use_lap_probe(evaluator, trained, model_path)
    assert probe.place is exact_place and found["laps_npz"] < 0.01 < found["trained_here"]
    shown = [*state_table({"place_probes": found, "agent_laps": {"skipped": "no --agent-path"}})]
    assert "read by laps.npz: on real clips laps.npz is off by 0." in shown[0]
    (tmp_path / "laps.npz").write_bytes(b"damaged")
    assert use_lap_probe(evaluator, trained, model_path) == (trained, {})
    assert "laps.npz" in capsys.readouterr().out


def test_state_that_is_not_finite_is_refused(evaluated):
    """One NaN would make every weight of the probe NaN, and the number of laps a plausible 0."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    broken = np.array(evaluator.data.extras["truth/place"])
    broken[3, 5] = np.nan
    data = replace(evaluator.data, extras={**evaluator.data.extras, "truth/place": broken})
    with pytest.raises(InputError, match="truth/place"):
        train_state_probe(replace(evaluator, data=data), 2, seed=0)


def test_a_rollout_of_the_agent_does_not_depend_on_the_number_of_rollouts(evaluated):
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", moving_unet())
    starts = evaluator.windows(evaluator.held_out, 4, 3, "this test")
    probe, frames = train_state_probe(evaluator, 2, seed=0), []
    for count in (2, 3):
        agent = FakeAgent()
        agent_laps(evaluator, probe, agent, starts[:count], 3)
        frames.append(torch.stack([each[:2] for each in agent.frames]).float())
    torch.testing.assert_close(*frames, rtol=0, atol=1)  # kernels of another batch size round differently


def test_frames_and_actions_of_the_agent_are_in_step(evaluated):
    """The action that the agent chooses for a frame must lead to the next frame, which it then observes."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", CopyModel())
    starts = evaluator.windows(evaluator.held_out, 4, 2, "this test")
    agent, probe = FakeAgent(), train_state_probe(evaluator, 2, seed=0)
    results = agent_laps(evaluator, probe, agent, starts, 6)
    assert results["frames"] == 6 and len(agent.frames) == 4 + 6
    real = evaluator.real_frames(starts, 0, 4)
    for t in range(4):
        assert torch.equal(agent.frames[t], real[:, t].movedim(1, -1))
    displayed = evaluator.decode(evaluator.encode(real[:, -1:]))[:, 0].movedim(1, -1)
    assert all(torch.equal(frame, displayed) for frame in agent.frames[4:])
    chosen = [(4 + i) % 3 for i in range(6)]
    for i, actions in enumerate(evaluator.unet.action_inputs):
        expected = [*evaluator.actions(starts, 4)[0, :-1].tolist(), *chosen]
        assert actions[0].tolist() == expected[i : i + 4]
