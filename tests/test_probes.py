"""Probes and the counting of laps, on clips and track positions with known results."""

import math

import pytest
import torch
from dream.evaluation.evaluator import sticky_random_actions
from dream.evaluation.probes import accuracy_by_class, angle_error, make_probe, predict, train_probe
from dream.evaluation.state_probe import SECTORS, SectorCount
from small import CPU, moving_square, seeded


def test_a_probe_learns_what_is_visible_and_nothing_else():
    """Accuracy must be high on clips that show the action, and at chance level on clips that do not."""
    frames, actions = moving_square(rows=8, steps=24)
    frames, actions = torch.from_numpy(frames) / 255, torch.from_numpy(actions)
    generator = seeded()

    def batches(step: int):
        row, t = torch.randint(6, (32,), generator=generator), torch.randint(23, (32,), generator=generator)
        return torch.stack([frames[row, t], frames[row, t + 1]], dim=1), actions[row, t]

    held_out = torch.stack([frames[6:, :-1], frames[6:, 1:]], dim=2).flatten(0, 1)
    probe = train_probe(make_probe(2, 3, 0, CPU), batches, torch.nn.functional.cross_entropy, 120)
    accuracy, by_class = accuracy_by_class(predict(probe, held_out), actions[6:, :-1].flatten(), 3)
    assert accuracy > 0.8 and min(by_class) > 0.6
    still = held_out[:, :1].expand(-1, 2, -1, -1, -1)  # without motion the action is not visible
    still_accuracy, _ = accuracy_by_class(predict(probe, still), actions[6:, :-1].flatten(), 3)
    assert still_accuracy < 0.55


def test_accuracy_by_class():
    logits = torch.eye(3)[[0, 0, 1, 1, 1]]
    accuracy, by_class = accuracy_by_class(logits, torch.tensor([0, 1, 1, 1, 1]), 3)
    assert accuracy == pytest.approx(0.8) and by_class == [1.0, 0.75, None]


def test_angle_error_wraps_around():
    vectors = torch.tensor([[math.cos(-0.1), math.sin(-0.1)], [2.0, 0.0], [-3.0, 0.0]])
    angles = torch.tensor([2 * math.pi - 0.3, 0.2, 0.0])
    torch.testing.assert_close(angle_error(vectors, angles), torch.tensor([0.2, 0.2, math.pi]))


def test_laps_count_only_sectors_passed_in_order():
    """A rollout that jumps, or moves back and forth over the finish line, must not gain laps."""
    # Three laps, four predictions per sector.
    positions = torch.arange(0, 3 * 2 * math.pi, 2 * math.pi / (4 * SECTORS))
    jumping = torch.where(torch.arange(len(positions)) % 2 == 0, positions, positions + 2)
    drivers = torch.stack([positions, -positions, 0 * positions, jumping])  # the second drives backwards
    count = SectorCount(4)
    for current in drivers.T:
        count.update(current)
    laps, driven = count.passed / SECTORS, count.distance / SECTORS
    assert driven[0] == pytest.approx(3, abs=0.2) and driven[1] == pytest.approx(-3, abs=0.2)
    assert driven[2] == 0 and driven[3] == 0
    assert laps[0] == pytest.approx(3, abs=0.2)
    assert laps[1] < 0.5 and laps[2] == 0 and laps[3] == 0  # backwards, still, never twice in one sector


def test_a_jump_costs_laps_but_no_distance():
    positions = torch.arange(0, 2 * 2 * math.pi, 2 * math.pi / (4 * SECTORS))
    count = SectorCount(1)
    # A jump of three sectors after 1.25 laps.
    with_jump = torch.cat([positions[:40], positions[40:] + 3 * 2 * math.pi / SECTORS])
    for position in with_jump:
        count.update(position[None])
    assert count.distance.item() / SECTORS == pytest.approx(2 - 1 / SECTORS, abs=0.13)
    assert count.passed.item() / SECTORS == pytest.approx(1.25, abs=0.13)


def test_sticky_random_actions():
    actions = sticky_random_actions(20, 500, 5, seed=3)
    assert actions.shape == (20, 500) and set(actions.unique().tolist()) == set(range(5))
    changed = (actions[:, 1:] != actions[:, :-1]).float().mean()
    assert 0.07 < changed < 0.13  # 1 / 8, of which a fifth draws the same action
    assert torch.equal(actions, sticky_random_actions(20, 500, 5, seed=3))
