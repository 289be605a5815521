"""sd/train_my_game.py: the stages and their times, stopping and continuing, the preview, the whole run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pygame
import pytest
import torch
import train_my_game
from dream.common.errors import InputError
from dream.models.autoencoder import AutoencoderConfig, Decoder
from dream.models.transfer import copy_weights
from dream.models.unet import UNet, UNetConfig
from dream.pipeline import stages
from dream.pipeline.child import Child
from dream.pipeline.progress import Preview, previews, summary
from dream.pipeline.recording_checks import keep_or_remove
from dream.pipeline.run_state import RunState
from dream.pipeline.stages import Folder, Source, make_stage, plan_minutes, stage_names
from dream.window.progress_picture import WIDTH, draw_progress, load_grid, save_progress

ROOT = Path(__file__).resolve().parent.parent
GAME = Source(game="LunarLander-v3")


# ------------------------------------------------------------------------------------------------ stages and times


@pytest.mark.parametrize(
    ("source", "minutes", "names"),
    [
        (GAME, 45, ["record", "autoencoder", "model", "export"]),
        (GAME, 480, ["agent", "record", "autoencoder", "model", "export"]),
        (Source(game="Mode7Kart-v0"), 480, ["record", "autoencoder", "model", "export"]),  # it has an agent
        (Source(videos="films"), 480, ["record", "autoencoder", "model", "export"]),
        (Source(recording="a.npz"), 45, ["autoencoder", "model", "export"]),
    ],
)
def test_stages(source, minutes, names):
    assert stage_names(source, minutes) == names


@pytest.mark.parametrize("source", [GAME, Source(videos="films"), Source(recording="a.npz")])
@pytest.mark.parametrize("max_minutes", [5, 45, 480])
def test_stages_that_keep_to_their_times_keep_to_the_budget(source, max_minutes):
    elapsed = 0.0
    for name in stage_names(source, max_minutes):
        minutes = plan_minutes(name, max_minutes, elapsed)
        assert minutes > 0
        elapsed += minutes
    assert 0.99 * max_minutes <= elapsed <= 1.0001 * max_minutes


def test_the_model_gets_what_the_stages_before_it_have_left():
    assert plan_minutes("model", 45, 20) == pytest.approx(24)
    assert plan_minutes("model", 45, 44.9) == 0.5  # too late: the script says so


def test_options_of_the_recorder(tmp_path):
    folder = Folder(tmp_path, Source(game="Mode7Kart-v0", options=("--track", "2")))
    command = make_stage("record", folder, 1.5, 45).command
    assert command[1] == str(ROOT / "ppo" / "record_trajectories.py")
    assert command[-2:] == ("--track", "2") and "agent=1,wander=4,sticky=3" in command
    assert command[command.index("--max-minutes") + 1] == "1.50"


def test_a_trained_agent_records(tmp_path):
    folder = Folder(tmp_path, GAME)
    assert "--agent" not in make_stage("record", folder, 1, 45).command
    folder.agent.mkdir()
    (folder.agent / "best.pt").touch()
    command = make_stage("record", folder, 1, 480).command
    assert command[command.index("--agent") + 1] == str(folder.agent / "best.pt")


def test_a_stopped_training_is_resumed(tmp_path):
    folder = Folder(tmp_path, GAME)
    assert "--resume" not in make_stage("model", folder, 1, 45).command
    folder.model.mkdir()
    (folder.model / "last.pt").touch()
    assert "--resume" in make_stage("model", folder, 1, 45).command


def test_a_big_gpu_gets_large_batches(tmp_path, monkeypatch):
    folder = Folder(tmp_path, GAME)
    monkeypatch.setattr(stages, "has_big_gpu", lambda: False)
    assert "--batch-size" not in make_stage("model", folder, 1, 45).command
    monkeypatch.setattr(stages, "has_big_gpu", lambda: True)
    assert "--batch-size" in make_stage("model", folder, 1, 45).command


# ------------------------------------------------------------------------------------------------ stop and continue


def test_a_run_is_continued(tmp_path):
    state = RunState.load(tmp_path, GAME)
    state.extend(45)
    assert state.begin("record") == 4.5
    state.finish("record")
    state.seconds["record"] = 300.0
    minutes = state.begin("autoencoder")
    again = RunState.load(tmp_path, GAME)
    again.extend(45)
    again.seconds["autoencoder"] = 300.0
    assert again.is_finished("record") and not again.is_finished("autoencoder")
    assert again.begin("autoencoder") == minutes  # as planned when it began


def test_a_larger_budget_trains_the_model_further(tmp_path):
    state = RunState.load(tmp_path, GAME)
    state.extend(45)
    for name in stage_names(GAME, 45):
        state.begin(name)
        state.finish(name)
    state.extend(30)
    assert state.is_finished("model")
    state.seconds = {"record": 300.0, "autoencoder": 480.0, "model": 1860.0, "export": 60.0}  # 45 minutes
    state.extend(90)
    assert (
        state.is_finished("autoencoder")
        and not state.is_finished("model")
        and not state.is_finished("export")
    )
    assert state.begin("model") == pytest.approx(31 + 44)  # the script counts the time of its earlier parts


def test_a_continued_training_keeps_its_rollout_length(tmp_path):
    """train_sd.py refuses to resume with another one."""
    state = RunState.load(tmp_path, GAME)
    state.extend(45)
    state.begin("model")
    again = RunState.load(tmp_path, GAME)
    again.extend(480)
    again.begin("model")
    assert again.rollout_length == state.rollout_length == 8
    command = make_stage("model", Folder(tmp_path, GAME), 1, 480, again.rollout_length).command
    assert command[command.index("--rollout-length") + 1] == "8"
    new = RunState.load(tmp_path / "new", GAME)
    new.extend(480)
    new.begin("model")
    assert new.rollout_length == 32


def test_a_folder_of_another_game_is_refused(tmp_path):
    RunState.load(tmp_path, GAME).save()
    with pytest.raises(InputError, match="holds the run of another game or other options: choose"):
        RunState.load(tmp_path, Source(game="CarRacing-v3"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": 5}', "[" * 100_000, "\xff"])
def test_a_damaged_state_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="is damaged"):
        RunState.load(tmp_path, GAME)


def run_child(tmp_path, code: str) -> Child:
    return Child([sys.executable, "-c", code], tmp_path / "log.txt")


def test_warnings_are_shown_and_all_is_in_the_log(tmp_path):
    child = run_child(
        tmp_path, "import sys; print('many words'); print('\\r 5%|', 'warning: slow', sep='\\r'); sys.exit(3)"
    )
    assert child.finish() == 3
    assert list(child.lines) == ["warning: slow"]
    assert "many words" in (tmp_path / "log.txt").read_text()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_stopped_script_can_save(tmp_path):
    code = "import time\ntry: print('note: ready'); time.sleep(60)\nexcept KeyboardInterrupt: print('note: saved')"
    child = run_child(tmp_path, code)
    while not child.take_lines():
        assert child.is_running
        time.sleep(0.02)
    assert child.stop() == 0
    assert child.take_lines() == ["note: saved"]


def test_options_can_be_corrected_until_something_is_recorded(tmp_path):
    state = RunState.load(tmp_path, Source(game="A-v0", options=("--track", "9")))
    state.extend(45)
    corrected = RunState.load(tmp_path, Source(game="A-v0", options=("--track", "2")))
    corrected.finish("record")
    with pytest.raises(InputError, match="other options"):
        RunState.load(tmp_path, Source(game="A-v0"))


def test_no_agent_is_trained_after_the_recording():
    assert "agent" not in stage_names(GAME, 480, is_recorded=True)
    for options in (("--policy", "random"), ("--policy=random",), ("--agent", "best.pt")):
        assert "agent" not in stage_names(Source(game="A-v0", options=options), 480)


def test_the_agent_gets_only_the_options_of_the_game(tmp_path):
    options = ("--frames", "9", "--frame-size", "96", "96", "--n-envs", "4", "--track=2")
    command = make_stage("agent", Folder(tmp_path, Source(game="A-v0", options=options)), 9, 480).command
    assert command[-4:] == ("--frame-size", "96", "96", "--track=2")


@pytest.mark.parametrize(
    ("steps", "varied", "is_kept"), [(1100, True, True), (1100, False, False), (40, True, False)]
)
def test_what_a_stopped_recorder_has_left(tmp_path, steps, varied, is_kept):
    """A recording of a still picture was trained on by the second call."""
    folder = Folder(tmp_path, GAME)
    frames = np.zeros((2, steps, 3, 16, 16), np.uint8)
    frames[:, ::2] += varied
    np.savez(folder.recording, frames=frames, actions=np.zeros((2, steps), np.int64))
    (tmp_path / "recording.recording" / "part").mkdir(parents=True)
    assert ("is used as it is" in keep_or_remove(folder)) == is_kept == folder.recording.exists()
    assert not (tmp_path / "recording.recording").exists()  # the recorder would refuse to begin


@pytest.mark.parametrize(
    ("varied", "message"), [("frames", "its only action is 'a'"), ("actions", "never changes")]
)
def test_a_recording_that_nothing_can_be_learned_from(tmp_path, varied, message):
    arrays = {"frames": np.zeros((2, 40, 3, 16, 16), np.uint8), "actions": np.zeros((2, 40), np.int64)}
    arrays[varied][:, ::2] = 1
    np.savez(tmp_path / "a.npz", action_names=["a", "b"], **arrays)
    command = ["--recording", str(tmp_path / "a.npz"), "--output-dir", str(tmp_path / "out")]
    with pytest.raises(InputError, match=message):
        train_my_game.main(train_my_game.parse_args(command))


def test_other_options_are_another_folder():
    plain, other = (
        train_my_game.parse_args(["--game", "a:B-v0", *more]) for more in ([], ["--", "--track", "2"])
    )
    assert plain.output_dir.name == "a-B-v0" and other.output_dir.name == "a-B-v0-track-2"


# ------------------------------------------------------------------------------------------------ previews


def write_metrics(run_dir: Path, **values: float) -> None:
    run_dir.mkdir(exist_ok=True)
    names = [name.replace("__", "/") for name in values]
    not_measured = "2" + "," * len(names)
    lines = [f"step,{','.join(names)}", f"1,{','.join(map(str, values.values()))}", not_measured, ""]
    (run_dir / "metrics.csv").write_text("\n".join(lines))


def save_grid(path: Path, rows: int = 2, columns: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    surface = pygame.Surface((columns * 50, rows * 30), depth=24)
    surface.fill((0, 120, 0))
    pygame.image.save(surface, str(path))
    return path


def test_summary_and_previews_follow_the_stages(tmp_path):
    folder = Folder(tmp_path, GAME)
    assert summary(folder) == "" and previews(folder, ()) == []
    write_metrics(folder.autoencoder, psnr__autoencoder=24.36)
    grid = save_grid(folder.autoencoder / "previews" / "step_000010.png")
    assert summary(folder) == "frames decoded at 24.4 dB"
    assert [preview.path for preview in previews(folder, ("a",))] == [grid]
    write_metrics(
        folder.model, psnr__rollout_4=25, psnr__copy_first_4=20, psnr__rollout_16=22, psnr__copy_first_16=19,
        psnr__rollout_64=20, psnr__copy_first_64=18,
    )  # fmt: skip
    for kind in ("film", "actions"):
        save_grid(folder.model / "previews" / f"step_000002_{kind}.png")
        grid = save_grid(folder.model / "previews" / f"step_000010_{kind}.png")
    assert summary(folder) == "22.0 dB after 16 frames (still: 19.0)"
    assert previews(folder, ("a", "b"))[1] == Preview(
        grid, previews(folder, ("a", "b"))[1].caption, ("a", "b")
    )


def test_the_preview_shows_grids_and_the_names_of_their_rows(tmp_path):
    grid = save_grid(tmp_path / "grid.png")
    plain = draw_progress("Game", "1 minute", 0.1, [Preview(grid, "caption")])
    named = draw_progress("Game", "1 minute", 0.1, [Preview(grid, "caption", ("one", "two"))])
    assert plain.get_width() == WIDTH and plain.get_size() == named.get_size()
    pixels = [pygame.surfarray.array3d(surface) for surface in (plain, named)]
    changed = (pixels[0] != pixels[1]).any(axis=(1, 2)).nonzero()[0]
    assert changed.min() > 0 and changed.max() < WIDTH - load_grid(grid).get_width() - 20  # left of the grid
    save_progress(named, tmp_path / "preview.png")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["grid.png", "preview.png"]


# ------------------------------------------------------------------------------------------------ weights


def test_weights_of_another_frame_size_and_other_actions_are_copied():
    small, large = (
        Decoder(AutoencoderConfig(h, w, channels=8, num_colors=4)) for h, w in ((16, 32), (32, 32))
    )
    torch.nn.init.normal_(small.position)
    assert copy_weights(large, small.state_dict()) == []
    torch.testing.assert_close(large.palette.weight, small.palette.weight)
    assert large.position.shape[2:] == (8, 8)
    torch.testing.assert_close(large.position.mean(), small.position.mean(), atol=0.02, rtol=0)

    other, unet = (
        UNet(UNetConfig(num_actions=n, channels=(32,), embedding=32, use_flow=True)) for n in (3, 5)
    )
    torch.nn.init.normal_(other.conv_out.weight)
    kept = copy_weights(unet, other.state_dict())
    assert {name.rsplit(".", 1)[0] for name in kept} == {
        "action_embedding", "conv_out", "flow.action_embedding", "flow.conv_out",
    }  # fmt: skip
    assert not unet.conv_out.weight.any()  # it begins with the last frame repeated
    torch.testing.assert_close(unet.conv_in.weight, other.conv_in.weight)


# ------------------------------------------------------------------------------------------------ the script


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "one of the arguments"),
        (["--game", "A", "--recording", "b.npz"], "not allowed with"),
        (["--videos", "missing"], "there is no such folder"),
        (["--recording", "missing.npz"], "there is no such file"),
        (["--game", "A", "--max-minutes", "0"], "must be from 1 to"),
        (["--game", "A", "--max-minutes", "nan"], "must be from 1 to"),
        (["--game", "A", "--max-minutes", "inf"], "must be from 1 to"),
        (["--recording", __file__, "--", "--track", "2"], "are for --game or --videos"),
        (["--game", "A", "--track", "2"], "options of the recorder go after --"),
    ],
)
def test_wrong_options_are_one_line(flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        train_my_game.parse_args(flags)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and message in error and error.count("\n") == 1


def test_an_error_of_a_script_is_one_line(tmp_path):
    """The recorder knows what is wrong with a game."""
    command = [
        sys.executable,
        str(ROOT / "sd" / "train_my_game.py"),
        "--game",
        "Nonsense-v0",
        "--output-dir",
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DISPLAY": ""})
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("error: recording: ") and "Nonsense" in last and "Traceback" not in run.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_from_a_game_to_a_film_with_a_stop_in_between(tmp_path):
    """The built-in game in one minute, stopped once; at the end ten seconds are played without a display."""
    folder = tmp_path / "out"
    command = [sys.executable, str(ROOT / "sd" / "train_my_game.py"), "--game", "Mode7Kart-v0", "--max-minutes", "1",
               "--output-dir", str(folder)]  # fmt: skip
    environment = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": "", "SDL_VIDEODRIVER": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as first:
        while not (folder / "autoencoder").exists():
            assert first.poll() is None, first.stdout.read().decode()
            time.sleep(0.1)
        first.send_signal(signal.SIGINT)
        output = first.stdout.read().decode()
    assert first.returncode == 1 and "the same command continues" in output
    assert json.loads((folder / "run.json").read_text())["finished"] == ["record"]
    second = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert second.returncode == 0, second.stderr
    assert "minutes are done, about" in second.stdout and "finished after" in second.stdout
    assert (folder / "film.gif").stat().st_size > 10_000 and (folder / "preview.png").stat().st_size > 10_000
