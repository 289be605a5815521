"""The ablation: every variant is what its name says, trained on as much, and asked the same."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ablate_sd
import numpy as np
import pytest
import torch
import train_sd
from dream.evaluation.evaluator import Subject
from dream.models.diffusion import MOST_NOISE
from dream.models.rollout import rollout
from dream.models.unet import LARGEST, REFERENCE, UNet, UNetConfig
from dream.training.losses import LossConfig, training_loss
from dream.training.optimizer import Optimizer
from small import CPU, moving_square, small_autoencoder, small_unet, wake_up

SCRIPT = Path(ablate_sd.__file__)


def lesson_and_network(name: str) -> tuple[LossConfig, UNetConfig, int, str, float, float]:
    variant = ablate_sd.VARIANTS[ablate_sd.VARIANTS[name].of or name]
    channels = [str(round(variant.width * width)) for width in UNetConfig(3).channels]
    args = train_sd.parse_args(["--channels", *channels, *variant.flags])
    loss_config = LossConfig(args.loss, args.context_noise, args.pure_noise)
    unet, _ = train_sd.make_unet(args, SimpleNamespace(num_actions=3), None)
    return loss_config, unet.config, args.own_frames, args.optimizer, args.discriminator, args.astray


def test_ours_is_what_train_sd_does_by_default():
    """The table says what the defaults were chosen from: its first row must be the defaults."""
    defaults = train_sd.parse_args([])
    assert lesson_and_network("ours") == (
        LossConfig(),
        UNetConfig(3, use_flow=True),
        defaults.own_frames,
        defaults.optimizer,
        defaults.discriminator,
        defaults.astray,
    )


def test_no_two_variants_are_the_same():
    """A flag that does nothing gives two equal rows, and a claim that the choice does not matter."""
    trained = [name for name, variant in ablate_sd.VARIANTS.items() if variant.of is None]
    assert len({lesson_and_network(name) for name in trained}) == len(trained)


def test_the_reference_can_be_trained():
    """benchmark_sd.py says how fast the dream is beside it; how good it is beside it, training must be able to tell."""
    unet, _ = train_sd.make_unet(train_sd.parse_args(["--reference"]), SimpleNamespace(num_actions=3), None)
    assert unet.config == replace(REFERENCE, num_actions=3)


@pytest.mark.parametrize("name", [name for name, variant in ablate_sd.VARIANTS.items() if variant.of is None])
def test_every_variant_learns(name):
    """A prediction turned into a latent the wrong way, or an input cut off, would be a straw man in the table."""
    loss_config, config, _, hidden, *_ = lesson_and_network(name)
    torch.manual_seed(0)
    unet = UNet(replace(config, channels=(16, 32), blocks=1, embedding=32)).to(
        memory_format=torch.channels_last
    )
    unet.attach_autoencoder(*small_autoencoder())
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(8, 4, 4, 8, 12, generator=generator)
    actions = torch.randint(3, (8, 4), generator=generator)
    # What comes next: the last latent, brighter, darker or as it is, by the last action.
    target = context[:, -1] + (actions[:, -1] - 1)[:, None, None, None]
    optimizer = Optimizer([unet], 1e-2, hidden=hidden)
    losses = []
    for _ in range(120):
        loss, *_ = training_loss(
            unet, context, actions, target, torch.ones(8, dtype=torch.bool), generator, loss_config
        )
        loss.backward()
        optimizer.step(3e-3)
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


def test_a_regression_is_shown_no_noise():
    """Else it would be a diffusion model under another name."""
    unet = wake_up(UNet(replace(small_unet().config, prediction_type="regression"))).eval()
    context, actions = torch.randn(2, 4, 4, 8, 12), torch.randint(3, (2, 4))
    one, other = (
        unet(torch.randn(2, 4, 8, 12), torch.rand(2), context, actions, torch.zeros(2)) for _ in range(2)
    )
    assert torch.equal(one, other)


def test_attention_hears_each_action():
    """Each of the four, at its place: three of them are the memory of what was held."""
    unet = wake_up(UNet(replace(small_unet().config, actions_by="attention"))).eval()
    z, context = torch.randn(1, 4, 8, 12), torch.randn(1, 4, 4, 8, 12)
    actions = torch.tensor([[0, 1, 2, 1]])
    said = unet(z, torch.ones(1), context, actions, torch.zeros(1))
    for place in range(4):
        other = actions.clone()
        other[0, place] = (other[0, place] + 1) % 3
        assert not torch.allclose(unet(z, torch.ones(1), context, other, torch.zeros(1)), said)
    assert not torch.allclose(unet(z, torch.ones(1), context, actions.flip(1), torch.zeros(1)), said)


def test_pure_noise_is_told_as_the_most_noise_that_was_training_runs():
    """A noise prediction is asked at level 1 and trained to 0.98: told 1, it hears what it has never heard."""
    unet = wake_up(UNet(replace(small_unet().config, prediction_type="noise"))).eval()
    inputs = torch.randn(1, 4, 4, 8, 12), torch.zeros(1, 4, dtype=torch.long), torch.zeros(1)
    z = torch.randn(1, 4, 8, 12)
    assert torch.equal(unet(z, torch.ones(1), *inputs), unet(z, torch.full((1,), MOST_NOISE), *inputs))


@torch.no_grad()
def test_roll_outs_of_a_noise_prediction_stay_finite():
    """Asked at pure noise it is off by fifty times its error; fed back without bounds the row of the table is NaN."""
    unet = wake_up(UNet(replace(small_unet().config, prediction_type="noise"))).eval()
    actions = torch.zeros(1, 4 + 63, dtype=torch.int64)
    latents = rollout(unet, torch.randn(1, 4, 4, 8, 12), actions, 1, torch.Generator().manual_seed(0))
    assert latents.isfinite().all() and latents.abs().max() <= LARGEST


@torch.no_grad()
def test_reencoded_frames_go_back_as_they_were_seen():
    """The row would be that of the latents under another name, were the encoder never asked."""
    encoder, decoder = small_autoencoder()
    frames, actions = moving_square()
    data = type("Recording", (), {"frames": frames, "actions": actions, "height": 32, "width": 48})()
    unet = wake_up(small_unet())
    subject = Subject(data, None, None, encoder, decoder, unet, 1, CPU)
    starts, keys = torch.tensor([[0, 0], [1, 3]]), torch.zeros(2, 6, dtype=torch.int64)
    latents, reencoded = (replace(subject, reencode=again).dream(starts, keys, "") for again in (False, True))
    assert torch.equal(latents[:, 0], reencoded[:, 0])  # the first frame has a real context
    assert not torch.allclose(latents[:, 1], reencoded[:, 1])
    seen = subject.encode(subject.decode(reencoded[:, :1]))
    context = torch.cat([subject.encode(subject.real(starts, 0, 4))[:, 1:], seen], dim=1).float()
    noise = torch.Generator().manual_seed(0)
    torch.randn(2, 4, 8, 12, generator=noise)
    z = torch.randn(2, 4, 8, 12, generator=noise)
    expected = unet(z, torch.ones(2), context, keys[:, :4], torch.zeros(2))
    torch.testing.assert_close(reencoded[:, 1].float(), expected, rtol=1e-2, atol=0.05)


@pytest.mark.slow
def test_what_another_process_found_meanwhile_is_kept(tmp_path, monkeypatch):
    args = ablate_sd.parse_args(["--output-dir", str(tmp_path), "--only", "ours", "--device", "cpu"])
    report = tmp_path / "ablation.json"

    def judge(subject, args, alexnet):
        other = ablate_sd.read_report(report, args)
        other["rows"]["regression"] = ["the other's"]
        ablate_sd.save_json(other, report)
        return "ours"

    subject = Subject(None, None, None, None, None, None, 1, CPU)
    for name, fake in (
        ("train", lambda *_: None),
        ("load_subject", lambda *_: subject),
        ("judge", judge),
        ("table", lambda rows: []),
    ):
        monkeypatch.setattr(ablate_sd, name, fake)
    ablate_sd.main(args)
    rows = json.loads(report.read_text())["rows"]
    assert rows == {"ours": ["ours"] * 3, "regression": ["the other's"]}


def test_the_script(tmp_path):
    """For real, on a recording of a moving square; and again: what is done is not done anew."""
    frames, actions = moving_square(rows=8, steps=100)
    np.savez(tmp_path / "square.npz", frames=frames, actions=actions)
    encoder, decoder = small_autoencoder()
    from dream.common.runs import save_checkpoint
    from dream.models.checkpoints import autoencoder_checkpoint, fingerprint

    save_checkpoint(
        autoencoder_checkpoint("encoder", encoder, fingerprint(decoder)), tmp_path / "a" / "encoder.pt"
    )
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), tmp_path / "a" / "decoder.pt")
    names = ["ours", "frames re-encoded", "no own frames + all levels + noise", "half as wide"]
    command = [sys.executable, SCRIPT, "--trajectories", "square.npz", "--autoencoder-dir", "a", "--output-dir", "b",
               "--windows", 8, "--batch-size", 4, "--held-out", 8, "--channels", 32, 32, "--only"]  # fmt: skip

    def run(only: list[str], *more) -> subprocess.CompletedProcess:
        words = [str(word) for word in [*command, ",".join(only), *more]]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)

    assert (first := run(names[:1])).returncode == 0, first.stderr
    done = run(names)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "b" / "ablation.json").read_text())["rows"]
    assert list(rows) == names and [len(rows[name]) for name in names] == [3, 1, 3, 1]
    assert rows["half as wide"][0]["weights"] < rows["ours"][0]["weights"]
    assert rows["ours"][0]["next_frame"] == rows["frames re-encoded"][0]["next_frame"]
    assert all(f"| {name} |" in done.stdout for name in names) and "the last frame repeated" in done.stdout
    runs = [path.parent for path in (tmp_path / "b").glob("*/latents.npy")]
    assert len(runs) == 3 and len({os.stat(run / "latents.npy").st_ino for run in runs}) == 1
    assert "steps," not in run(names).stdout  # no training
    killed = tmp_path / "b" / "half_as_wide"  # before it was judged: it goes on, and does not begin anew
    (killed / ".done").unlink()
    report = json.loads((tmp_path / "b" / "ablation.json").read_text())
    report["rows"].pop("half as wide")
    (tmp_path / "b" / "ablation.json").write_text(json.dumps(report))
    assert (again := run(names)).returncode == 0, again.stderr
    other = run(names, "--seed", 1)
    assert other.returncode != 0 and "of other settings" in other.stderr and "Traceback" not in other.stderr
    wrong = run(["ghost"])
    assert wrong.returncode != 0 and "--only ghost: known are ours" in wrong.stderr
