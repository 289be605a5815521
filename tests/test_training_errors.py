"""What the training scripts refuse, each in one line that names the problem, and that nothing is overwritten."""

import shutil
from pathlib import Path

import pytest
import train_autoencoder
import train_sd
from dream.models.checkpoints import load_autoencoder_part, load_unet
from training_helpers import (
    error_line,
    record,
    run_train_autoencoder,
    run_train_sd,
    small_networks,
    train_small_models,
    training_data,
)

PRETRAINED = Path(train_sd.__file__).parent / "pretrained"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return train_small_models(tmp_path_factory.mktemp("trained"))


@pytest.fixture(autouse=True)
def small_models():
    with small_networks():
        yield


def resume_model(trained: Path) -> list:
    return [*training_data(trained), "--output-dir", trained / "b", "--resume"]


def test_missing_files(trained, tmp_path):
    square, output = ["--trajectories", trained / "square.npz"], ["--output-dir", tmp_path / "b"]
    missing = ["--trajectories", tmp_path / "none.npz"]
    assert "no recording" in error_line(run_train_autoencoder, *missing)
    assert "no recording" in error_line(run_train_sd, *training_data(trained), *missing, *output)
    assert "no checkpoint" in error_line(run_train_sd, *square, "--autoencoder-dir", tmp_path, *output)
    assert "no checkpoint" in error_line(run_train_autoencoder, *square, *output, "--resume")
    assert "no checkpoint" in error_line(run_train_autoencoder, *square, *output, "--init-from", tmp_path)
    assert not (tmp_path / "b").exists()


def test_an_autoencoder_that_does_not_fit_the_recording(trained, tmp_path):
    larger = ["--trajectories", record(tmp_path / "larger.npz", height=48, width=64)]
    output = ["--output-dir", tmp_path / "b"]
    assert "(32, 48)" in error_line(run_train_sd, *training_data(trained), *larger, *output)
    assert not (tmp_path / "b").exists()


def test_init_from_an_autoencoder_of_another_shape(trained, tmp_path):
    """Another frame size is fine: its position embedding is resized."""
    larger = ["--trajectories", record(tmp_path / "larger.npz", height=48, width=64)]
    flags = [*larger, "--output-dir", tmp_path / "b", "--init-from", trained / "a"]
    run_train_autoencoder(*flags)
    assert load_autoencoder_part(tmp_path / "b" / "decoder.pt", "decoder").config.height == 48
    flags = [
        *larger,
        "--output-dir",
        tmp_path / "c",
        "--init-from",
        PRETRAINED,
    ]  # more channels than in these tests
    assert "of another shape" in error_line(run_train_autoencoder, *flags)


def test_an_encoder_and_a_decoder_of_different_runs(trained, tmp_path):
    run_train_autoencoder(
        "--trajectories", trained / "square.npz", "--output-dir", tmp_path / "a", "--seed", 1
    )
    shutil.copy(trained / "a" / "decoder.pt", tmp_path / "a" / "decoder.pt")
    flags = ["--autoencoder-dir", tmp_path / "a", "--output-dir", tmp_path / "b"]
    assert "not of one training run" in error_line(run_train_sd, *training_data(trained), *flags)
    assert not (tmp_path / "b").exists()


def test_init_from_a_model_of_a_game_with_other_actions(trained, tmp_path, capsys):
    more_actions = ["--trajectories", record(tmp_path / "more.npz", num_actions=5)]
    flags = ["--output-dir", tmp_path / "b", "--init-from", trained / "b" / "best.pt"]
    run_train_sd(*training_data(trained), *more_actions, *flags)
    unet, _, checkpoint = load_unet(tmp_path / "b" / "final.pt")
    assert unet.config.num_actions == 5 and len(checkpoint["training_runs"]) == 1
    assert "another game" in capsys.readouterr().out


def test_resume_needs_a_run_of_the_same_script(trained):
    flags = [*training_data(trained), "--output-dir", trained / "a", "--resume"]
    assert "wanted 'model_run'" in error_line(run_train_sd, *flags)


def test_resume_needs_the_recording_and_the_autoencoder_of_the_run(trained, tmp_path):
    other = ["--trajectories", record(tmp_path / "other.npz", seed=1)]
    flags = [*other, "--output-dir", trained / "a", "--resume"]
    assert "began with --trajectories" in error_line(run_train_autoencoder, *flags)
    assert "began with --trajectories" in error_line(run_train_sd, *resume_model(trained), *other)
    run_train_autoencoder(
        "--trajectories", trained / "square.npz", "--output-dir", tmp_path / "a", "--seed", 1
    )
    line = error_line(run_train_sd, *resume_model(trained), "--autoencoder-dir", tmp_path / "a")
    assert "began with --autoencoder-dir" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [("--off-data", 1), ("--gan-weight", 1), ("--pure-noise-fraction", 1), ("--seed", 1),
     ("--flow-pretrain", 0.5), ("--init-from", "b/best.pt")],
)  # fmt: skip
def test_resume_needs_the_settings_of_the_run(trained, option, value):
    """--init-from changes the default of --flow-pretrain."""
    if option == "--init-from":
        option, flags = "--flow-pretrain", [option, trained / value]
    else:
        flags = [option, value]
    assert f"began with {option} " in error_line(run_train_sd, *resume_model(trained), *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--channels", 32], "--channels cannot be changed: the run has (16, 32)"),
        (["--no-flow"], "--flow cannot be changed: the run has True"),
        (["--prediction-type", "regression"], "--prediction-type cannot be changed: the run has x0"),
        (["--warp", "bilinear"], "--warp cannot be changed: the run has bicubic"),
    ],
)
def test_resume_needs_the_network_of_the_run(trained, flags, message):
    """The message used to name the run "None", the value of --init-from."""
    assert message in error_line(run_train_sd, *resume_model(trained), *flags)


def test_init_from_needs_the_network_of_the_file(trained, tmp_path):
    flags = ["--output-dir", tmp_path / "b", "--init-from", trained / "b" / "best.pt", "--channels", 32]
    line = error_line(run_train_sd, *training_data(trained), *flags)
    assert "--channels cannot be changed" in line and "best.pt has (16, 32)" in line


@pytest.mark.parametrize("folder", ["a", "b"])
def test_a_run_is_never_overwritten(trained, folder):
    """Where --resume was forgotten, a new run would replace the best model of an old one."""
    before = {path: path.stat().st_mtime_ns for path in (trained / folder).iterdir()}
    output = ["--output-dir", trained / folder]
    if folder == "a":
        line = error_line(run_train_autoencoder, "--trajectories", trained / "square.npz", *output)
    else:
        line = error_line(run_train_sd, *training_data(trained), *output)
    assert "already contains a run" in line and "--resume" in line
    assert before == {path: path.stat().st_mtime_ns for path in (trained / folder).iterdir()}


@pytest.mark.parametrize("script", ["autoencoder", "sd"])
def test_a_loss_that_is_not_finite_stops_the_run(script, trained, tmp_path):
    """The last good checkpoints must not be replaced by weights of NaN."""
    flags = ["--output-dir", tmp_path / "run", "--epoch-samples", 256, "--learning-rate", 1e30]
    if script == "sd":
        line = error_line(run_train_sd, *training_data(trained), *flags)
    else:
        line = error_line(run_train_autoencoder, "--trajectories", trained / "square.npz", *flags)
    assert "the loss is not finite" in line and "--learning-rate" in line
    assert not list(tmp_path.glob("run/best.pt")) and not list(tmp_path.glob("run/last.pt"))


def usage_error(script, capsys, *flags) -> str:
    with pytest.raises(SystemExit) as stopped:
        script.parse_args([*map(str, flags)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--epochs", "--epoch-samples", "--batch-size", "--max-minutes", "--learning-rate"]
)
@pytest.mark.parametrize("script", [train_autoencoder, train_sd], ids=["autoencoder", "sd"])
def test_options_out_of_range_are_refused_before_anything_is_loaded(script, option, capsys):
    assert option in usage_error(script, capsys, option, -1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--sampling-steps", 0), ("--sampling-steps", 1001), ("--channels", 24),
     ("--flow-pretrain", 1), ("--off-data", 1.5),
     ("--pure-noise-fraction", -1), ("--gan-weight", -1), ("--rollout-length", -1), ("--rollout-length-start", 65),
     ("--still-threshold", 17)],
)  # fmt: skip
def test_model_options_out_of_range(option, value, capsys):
    assert option in usage_error(train_sd, capsys, option, value)


def test_a_new_model_begins_with_short_rollouts(capsys):
    message = usage_error(train_sd, capsys, "--rollout-length-start", 8)
    assert "--rollout-length-start above 1 needs --init-from" in message


def test_without_a_flow_nothing_says_that_the_picture_stands_still(capsys):
    message = usage_error(train_sd, capsys, "--no-flow", "--still-threshold", 0.5)
    assert "--still-threshold needs the flow: leave out --no-flow" in message
