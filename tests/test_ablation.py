"""The ablation: every variant is what its name says, is trained on as much, and is evaluated in the same way."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ablate_sd
import numpy as np
import pytest
import torch
import train_sd
from dream.common.errors import run_script
from dream.evaluation.evaluator import Evaluator
from dream.models.unet import UNet, UNetConfig
from dream.training.losses import denoiser_loss
from dream.training.noise import add_training_noise
from dream.training.optimizer import Optimizer
from dream.training.setup import NEW_MODEL, make_unet
from small import (
    CPU,
    moving_square,
    randomize_weights,
    save_moving_square,
    save_small_autoencoder,
    small_autoencoder,
    small_unet,
)

SCRIPT = Path(ablate_sd.__file__)


def training_settings(name: str) -> tuple[UNetConfig, float, float, str, float, float]:
    """What train_sd.py makes of a variant: the network, pure-noise fraction, rollout length, optimizer, GAN weight and
    off-data fraction."""
    variant = ablate_sd.VARIANTS[ablate_sd.VARIANTS[name].reuses or name]
    channels = [str(round(variant.width * width)) for width in UNetConfig(3).channels]
    args = train_sd.parse_args(["--channels", *channels, *variant.flags])
    unet, _ = make_unet(args, SimpleNamespace(num_actions=3), None)
    return (
        unet.config, args.pure_noise_fraction, args.rollout_length, args.optimizer, args.gan_weight, args.off_data,
    )  # fmt: skip


def test_the_baseline_is_the_default_of_train_sd():
    """The table justifies the defaults: its first row must be trained with them."""
    args = train_sd.parse_args([])
    assert training_settings("baseline") == (
        UNetConfig(3, **NEW_MODEL), args.pure_noise_fraction, args.rollout_length, args.optimizer, args.gan_weight,
        args.off_data,
    )  # fmt: skip


def test_no_two_variants_are_the_same():
    """A flag without effect gives two equal rows, from which the choice would seem not to matter."""
    trained = [name for name, variant in ablate_sd.VARIANTS.items() if variant.reuses is None]
    assert len({training_settings(name) for name in trained}) == len(trained)


@pytest.mark.parametrize(
    "name", [name for name, variant in ablate_sd.VARIANTS.items() if variant.reuses is None]
)
def test_every_variant_learns(name):
    """A variant that cannot learn would be an unfair comparison."""
    config, pure_noise_fraction, _, optimizer_name, *_ = training_settings(name)
    torch.manual_seed(0)
    unet = UNet(replace(config, channels=(16, 32), blocks=1, embedding=32)).to(
        memory_format=torch.channels_last
    )
    unet.attach_autoencoder(*small_autoencoder())
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(8, 4, 4, 8, 12, generator=generator)
    actions = torch.randint(3, (8, 4), generator=generator)
    # The target is the last latent, brighter, darker or unchanged, depending on the last action.
    target = context[:, -1] + (actions[:, -1] - 1)[:, None, None, None]
    optimizer = Optimizer([unet], 1e-2, optimizer_name=optimizer_name)
    everywhere = torch.ones(8, dtype=torch.bool)
    losses = []
    for _ in range(120):
        noisy = add_training_noise(context, target, everywhere, everywhere, pure_noise_fraction, generator)
        predicted = unet(noisy.z, noisy.t, noisy.context, actions, noisy.context_noise)
        loss, _ = denoiser_loss(predicted, target)
        loss.backward()
        optimizer.step(3e-3)
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


def test_a_regression_sees_no_noise():
    """Otherwise it would still be a diffusion model."""
    unet = randomize_weights(UNet(replace(small_unet().config, prediction_type="regression"))).eval()
    context, actions = torch.randn(2, 4, 4, 8, 12), torch.randint(3, (2, 4))
    one, other = (unet(torch.randn(2, 4, 8, 12), torch.rand(2), context, actions) for _ in range(2))
    assert torch.equal(one, other)


@torch.no_grad()
def test_reencoded_frames_enter_the_context():
    """Without the encoder the row would equal that of the baseline."""
    encoder, decoder = small_autoencoder()
    frames, actions = moving_square()
    data = type("Recording", (), {"frames": frames, "actions": actions, "height": 32, "width": 48})()
    unet = randomize_weights(small_unet())
    evaluator = Evaluator(data, None, None, encoder, decoder, unet, 1, CPU)
    starts, actions_taken = torch.tensor([[0, 0], [1, 3]]), torch.zeros(2, 6, dtype=torch.int64)
    latents, reencoded = (
        replace(evaluator, reencode=again).rollout(starts, actions_taken, "") for again in (False, True)
    )
    assert torch.equal(latents[:, 0], reencoded[:, 0])  # the first frame has a real context
    assert not torch.allclose(latents[:, 1], reencoded[:, 1])
    displayed = evaluator.encode(evaluator.decode(reencoded[:, :1]))
    context = torch.cat(
        [evaluator.encode(evaluator.real_frames(starts, 0, 4))[:, 1:], displayed], dim=1
    ).float()
    # Each rollout has a generator of its own; the second latent is the second draw.
    z = torch.stack(
        [torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(i))[1] for i in range(2)]
    )
    expected = unet(z, torch.ones(2), context, actions_taken[:, :4])
    torch.testing.assert_close(reencoded[:, 1].float(), expected, rtol=1e-2, atol=0.05)


@pytest.mark.slow
def test_rows_of_another_process_are_kept(tmp_path, monkeypatch):
    args = ablate_sd.parse_args(["--output-dir", str(tmp_path), "--only", "baseline", "--device", "cpu"])
    report = tmp_path / "ablation.json"

    def evaluate_variant(evaluator, args, alexnet):
        other = ablate_sd.read_report(report, args)
        other["rows"]["regression"] = ["the other's"]
        ablate_sd.save_report(other, report)
        return "baseline"

    evaluator = Evaluator(None, None, None, None, None, None, 1, CPU)
    for name, fake in (
        ("train", lambda *_: None),
        ("load_variant", lambda *_: evaluator),
        ("evaluate_variant", evaluate_variant),
        ("table", lambda rows: []),
    ):
        monkeypatch.setattr(ablate_sd, name, fake)
    ablate_sd.main(args)
    rows = json.loads(report.read_text())["rows"]
    assert rows == {"baseline": ["baseline"] * 3, "regression": ["the other's"]}


@pytest.mark.slow
def test_the_script(tmp_path, monkeypatch, capsys):
    """Runs it on a recording of a moving square, and again: finished variants are not trained again."""
    monkeypatch.chdir(tmp_path)
    save_moving_square(tmp_path / "square.npz", rows=8, steps=100)
    save_small_autoencoder(tmp_path / "a")
    names = ["baseline", "frames re-encoded", "no rollouts + all timesteps", "half as wide"]
    flags = ["--trajectories", "square.npz", "--autoencoder-dir", "a", "--output-dir", "b", "--windows", 8,
             "--batch-size", 4, "--held-out", 8, "--channels", 32, 32, "--device", "cpu"]  # fmt: skip

    def run(only: list[str], *more) -> str:
        words = [str(word) for word in [*flags, "--only", ",".join(only), *more]]
        run_script(lambda: ablate_sd.main(ablate_sd.parse_args(words)))
        return capsys.readouterr().out

    run(names[:1])
    output = run(names)
    rows = json.loads((tmp_path / "b" / "ablation.json").read_text())["rows"]
    assert list(rows) == names and [len(rows[name]) for name in names] == [3, 1, 3, 1]
    assert rows["half as wide"][0]["weights"] < rows["baseline"][0]["weights"]
    assert rows["baseline"][0]["next_frame"] == rows["frames re-encoded"][0]["next_frame"]
    assert all(f"| {name} |" in output for name in names) and "last frame repeated" in output
    runs = [path.parent for path in (tmp_path / "b").glob("*/latents.npy")]
    assert len(runs) == 3 and len({os.stat(run / "latents.npy").st_ino for run in runs}) == 1
    assert "steps," not in run(names)  # no training
    killed = tmp_path / "b" / "half_as_wide"  # stopped before its evaluation: the training is not repeated
    (killed / ".done").unlink()
    report = json.loads((tmp_path / "b" / "ablation.json").read_text())
    report["rows"].pop("half as wide")
    ablate_sd.save_report(report, tmp_path / "b" / "ablation.json")
    run(names)
    with pytest.raises(SystemExit, match="has other settings"):
        run(names, "--seed", 1)
    with pytest.raises(SystemExit):
        run(["ghost"])
    assert "--only ghost: choose from baseline" in capsys.readouterr().err
