"""sd/train_my_game.py: previews, weights of another game, options, the whole run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pygame
import pytest
import torch
import train_my_game
from dream.models.autoencoder import AutoencoderConfig, Decoder
from dream.models.transfer import copy_weights
from dream.models.unet import UNet, UNetConfig
from dream.pipeline.progress import Preview, previews, summary
from dream.pipeline.stages import Folder, Source
from dream.window.progress_picture import WIDTH, draw_progress, load_grid, save_progress

ROOT = Path(__file__).resolve().parent.parent
GAME = Source(game="LunarLander-v3")


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
