"""The backends: all give the frames of plain PyTorch, and the exported model needs no PyTorch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import benchmark_sd
import export_sd
import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import load_checkpoint, save_checkpoint
from dream.evaluation.exported_modules import OnnxDecoder, OnnxUNet
from dream.inference import export
from dream.inference import select_backend as backends
from dream.inference.backend import State, sampling_timesteps
from dream.inference.onnx_backend import (
    GRAPHS,
    METADATA,
    OnnxBackend,
    export_dir,
    matches_source,
    source_hash,
)
from dream.inference.select_backend import load_backend
from dream.inference.torch_backend import CudaBackend, TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from dream.models.autoencoder import decode
from dream.models.rollout import sample_next_latent
from small import CPU, save_small_world_model

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "sd" / "play_sd.py"
PRETRAINED = ROOT / "sd" / "pretrained"
PRETRAINED_FILES = "decoder.pt", "model.pt", "initial_sequence.npz"
RUNTIMES = ["openvino", "onnxruntime"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Paths of a small decoder, model and start states, with an export of them in float32."""
    paths = save_small_world_model(tmp_path_factory.mktemp("dream"))
    export_sd.main(export_sd.parse_args(["--model-path", str(paths["model_path"]), "--float"]))
    return tuple(paths.values())


@pytest.fixture
def copied(exported, tmp_path):
    shutil.copytree(exported[1].parent, tmp_path, dirs_exist_ok=True)
    return tuple(tmp_path / path.name for path in exported)


def psnr_db(one: State, other: State) -> float:
    difference = (one.rgb.astype(float) - other.rgb.astype(float)) / 255
    return -10 * np.log10(np.mean(difference**2) + 1e-12)


def test_timesteps_go_from_noise_to_none():
    assert list(sampling_timesteps(1)) == [(1, 0)]
    assert list(sampling_timesteps(4)) == [(1, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("steps", [1, 3])
def test_an_exported_model_generates_the_same_frames(exported, runtime, steps):
    """Frame by frame from the same state: an axis the wrong way, a stale action or a lost part would show at once."""
    pytest.importorskip(runtime)
    plain = TorchBackend(*exported[:2], steps, CPU)
    other = OnnxBackend(export_dir(exported[1]), runtime, steps)
    for name in ("game", "autoencoder", "latent_shape", "frame_shape", "context_length", "steps"):
        assert getattr(plain, name) == getattr(other, name)
    starts = WorldModelEnv.load(plain, exported[2], 0)
    start_state = starts.start_states.latents[1], starts.start_states.actions[1]
    random = np.random.default_rng(0)
    states = plain.init_state(*start_state), other.init_state(*start_state)
    for action in (2, 0, 1, 1, 2):
        assert psnr_db(*states) > 45
        np.testing.assert_array_equal(states[0].actions, states[1].actions)
        assert np.abs(states[0].context.numpy() - states[1].context).mean() < 0.02
        noise = random.standard_normal(plain.latent_shape, dtype=np.float32)
        same = State(
            *(array.numpy() for array in (states[0].context, states[0].actions, states[0].frame)), None
        )
        states = plain.step(states[0], action, noise), other.step(same, action, noise)
    assert (states[1].rgb != other.init_state(*start_state).rgb).any()


GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_the_captured_frame_is_that_of_plain_torch(exported, device):
    """On a CPU nothing is captured, but tensors are copied in and out in the same way."""
    device = torch.device(device)
    plain, captured = TorchBackend(*exported[:2], 1, device), CudaBackend(*exported[:2], 1, device)
    dream, random = WorldModelEnv.load(plain, exported[2], 0), np.random.default_rng(0)
    start_state = dream.start_states.latents[1], dream.start_states.actions[1]
    states = plain.init_state(*start_state), captured.init_state(*start_state)
    for action, steps in ((2, 1), (0, 1), (1, 3), (1, 3), (2, 1)):
        noise = random.standard_normal(plain.latent_shape, dtype=np.float32)
        plain.steps = captured.steps = steps
        states = plain.step(states[0], action, noise), captured.step(states[0], action, noise)
        assert psnr_db(*states) > 45 and torch.equal(states[0].actions, states[1].actions)
        assert (states[0].context - states[1].context).abs().mean() < 0.02


def test_a_state_is_never_written_into(exported):
    """Rewinding keeps states; one that changes afterwards leads elsewhere."""
    pytest.importorskip("openvino")
    for backend in (
        TorchBackend(*exported[:2], 1, CPU),
        CudaBackend(*exported[:2], 1, CPU),
        OnnxBackend(export_dir(exported[1]), "openvino", 1),
    ):
        dream = WorldModelEnv.load(backend, exported[2], 0)
        kept = dream.state
        noise = np.zeros(backend.latent_shape, np.float32)
        frames = [backend.step(kept, 2, noise).rgb]
        for action in (0, 1, 2):
            dream.step(action)
        frames.append(backend.step(kept, 2, noise).rgb)
        np.testing.assert_array_equal(*frames)


def test_weights_are_kept_in_half_precision(exported):
    """In full they would be twice the size of the checkpoint, and too large for the repository."""
    size = sum((export_dir(exported[1]) / f"{part}.onnx").stat().st_size for part in GRAPHS)
    weights = sum(path.stat().st_size for path in exported[:2])
    assert size < 1.5 * weights + 200_000


def test_the_convolutions_of_the_denoiser_are_in_8_bits(exported, tmp_path, capsys):
    """The inputs in play set the quantization range: with wrong inputs the frames would differ."""
    pytest.importorskip("openvino")
    _, model, starts = exported
    flags = ["--model-path", model, "--trajectory-path", starts, "--output-dir", tmp_path / "i"]
    export_sd.main(export_sd.parse_args([*map(str, flags)]))
    rounded, plain = (OnnxBackend(folder, "openvino", None) for folder in (tmp_path / "i", export_dir(model)))
    assert rounded.name == f"{plain.name} and int8"
    sizes = [(folder / "denoise.onnx").stat().st_size for folder in (tmp_path / "i", export_dir(model))]
    assert sizes[0] < sizes[1]
    dream = WorldModelEnv.load(plain, starts, 0)
    start_state, noise = (
        (dream.start_states.latents[1], dream.start_states.actions[1]),
        np.ones(plain.latent_shape, np.float32),
    )
    states = [backend.step(backend.init_state(*start_state), 2, noise) for backend in (plain, rounded)]
    assert psnr_db(*states) > 40 and (states[0].context != states[1].context).any()


def fake_export(decoder: Path, model: Path, starts: Path, folder: Path) -> None:
    """In place of a real export, which takes seconds."""
    saved = json.loads((folder / METADATA).read_text())
    (folder / METADATA).write_text(json.dumps({**saved, "source_hash": source_hash(decoder, model)}))


def test_an_export_belongs_to_its_very_files(copied, monkeypatch, capsys):
    """Otherwise a model that was trained further would still play its old export."""
    decoder, model, _ = copied
    folder = export_dir(model)
    assert matches_source(folder, decoder, model)
    checkpoint = load_checkpoint(model, "dream", "")
    checkpoint["model"]["conv_in.bias"] += 1
    save_checkpoint(checkpoint, model)
    assert not matches_source(folder, decoder, model)
    monkeypatch.setattr(export, "export_model", fake_export)
    backend = load_backend(decoder, model, backend="openvino")
    assert matches_source(folder, decoder, model) and "OpenVINO" in backend.name
    assert "exporting the model" in capsys.readouterr().out
    load_backend(decoder, model, backend="openvino")
    assert not capsys.readouterr().out


def test_without_start_states_a_model_is_exported_unquantized(copied, monkeypatch):
    """Its start states may be elsewhere (--trajectory-path): it plays all the same."""
    decoder, model, starts = copied
    calls = []
    monkeypatch.setattr(export, "export_model", lambda *paths: calls.append(paths[2]) or fake_export(*paths))
    for there in (True, False):
        if not there:
            starts.unlink()
        metadata = export_dir(model) / METADATA
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "source_hash": "others"}))
        load_backend(decoder, model, backend="openvino")
    assert calls == [starts, None]


def test_the_backend_is_the_fastest_that_is_there(copied, monkeypatch):
    decoder, model, _ = copied
    there = {"torch", "openvino", "onnx", "onnxscript", "onnxruntime"}
    monkeypatch.setattr(backends, "has_modules", lambda *names: there.issuperset(names))
    monkeypatch.setattr(backends, "has_cuda", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")

    def chosen(device="auto"):
        return backends.select_backend(decoder, model, device)

    assert chosen() == "openvino" and chosen("cuda") == "cuda"
    there = {"torch", "openvino"}
    assert chosen() == "openvino"
    shutil.rmtree(export_dir(model))
    assert chosen() == "torch"
    there = {"torch"}
    assert chosen() == "torch"
    there = set()
    with pytest.raises(InputError, match="needs PyTorch"):
        load_backend(decoder, model)
    there = {"openvino"}
    with pytest.raises(InputError, match="no export of this model"):
        load_backend(decoder, model, backend="openvino")
    with pytest.raises(InputError, match="pip install onnxruntime"):
        load_backend(decoder, model, backend="onnxruntime")
    with pytest.raises(InputError, match="--device cuda needs PyTorch and an NVIDIA GPU"):
        load_backend(decoder, model, device="cuda")
    with pytest.raises(InputError, match="--backend cuda needs PyTorch and an NVIDIA GPU"):
        load_backend(decoder, model, backend="cuda")
    there = {"torch", "openvino", "onnx", "onnxscript", "onnxruntime"}
    monkeypatch.setattr(backends, "has_cuda", lambda: True)
    assert chosen() == "cuda" and chosen("cpu") == "openvino"
    monkeypatch.setattr("dream.common.runs.pick_device", lambda device: CPU)
    assert isinstance(load_backend(decoder, model), CudaBackend)
    assert type(load_backend(decoder, model, backend="torch")) is TorchBackend
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert chosen() == "openvino"  # without the driver torch is not even asked


@pytest.mark.parametrize(
    "damage", ["no graph", "half a graph", "no json", "half a json", "other format", "no game"]
)
def test_a_damaged_export_is_refused_in_one_line(copied, damage):
    pytest.importorskip("openvino")
    folder = export_dir(copied[1])
    graph, metadata = folder / "denoise.onnx", folder / METADATA
    saved = json.loads(metadata.read_text())
    if damage == "no graph":
        graph.unlink()
    elif damage == "half a graph":
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    elif damage == "no json":
        metadata.unlink()
    elif damage == "half a json":
        metadata.write_text(metadata.read_text()[:50])
    elif damage == "other format":
        metadata.write_text(json.dumps({**saved, "format": 99}))
    else:
        metadata.write_text(json.dumps({**saved, "game": {"fps": 15}}))
    with pytest.raises(InputError, match=r"sd/export_sd\.py") as refused:
        OnnxBackend(folder, "openvino", None)
    assert "\n" not in str(refused.value)


@torch.no_grad()
def test_what_is_measured_is_what_is_played(exported):
    """evaluate_sd.py runs the exported model in place of the networks: bit for bit what the window shows."""
    pytest.importorskip("openvino")
    plain, played = (
        TorchBackend(*exported[:2], 2, CPU),
        OnnxBackend(export_dir(exported[1]), "openvino", 2),
    )
    decoder = OnnxDecoder(plain.decoder, played)
    unet = OnnxUNet(plain.unet, played).attach_autoencoder(plain.unet.autoencoder[0], decoder)
    dream = WorldModelEnv.load(played, exported[2], 0)
    context, actions = (
        torch.from_numpy(dream.start_states.latents),
        torch.from_numpy(dream.start_states.actions),
    )
    noise = torch.randn(context[:, -1].shape, generator=torch.Generator().manual_seed(0))
    latents = sample_next_latent(unet, context, actions, noise, 2)
    frames = decode(decoder, latents)
    for i in range(dream.num_starts):
        state = played.init_state(dream.start_states.latents[i], dream.start_states.actions[i])
        state = played.step(state, int(dream.start_states.actions[i, -1]), noise[i].numpy())
        np.testing.assert_array_equal(state.context[0, -1], latents[i])
        np.testing.assert_array_equal(state.frame[0], frames[i])
    # and not by luck: the networks in its place, with other numbers
    assert not torch.equal(latents, sample_next_latent(plain.unet, context, actions, noise, 2))


# ------------------------------------------------------------------------------------------------- the benchmark


def test_the_benchmark(exported, tmp_path, capsys):
    pytest.importorskip("openvino")
    flags = ["--output", tmp_path / "b.json", "--rounds", 1, "--frames", 4, "--starts", 1, "--backends", "openvino",
             "--device", "cpu"]  # fmt: skip
    for option, path in zip(("decoder", "model", "trajectory"), exported, strict=True):
        flags += [f"--{option}-path", path]
    benchmark_sd.main(benchmark_sd.parse_args([*map(str, flags)]))
    found = json.loads((tmp_path / "b.json").read_text())
    one = found["backends"]["openvino"]
    assert (
        0 < one["frame_ms"]["median"] <= one["frame_ms"]["p95"] <= one["frame_ms"]["p99"]
        and one["frames"] == 4
    )
    assert one["ratio"] == pytest.approx(found["reference"]["frame_ms"]["median"] / one["frame_ms"]["median"])
    assert found["reference"]["steps"] == 7 and one["steps"] == 2 and one["start_up_s"] > 0
    if sys.platform.startswith("linux"):  # of its own process, not of this one, which holds torch
        assert 50 < one["memory_mb"] < 600
    assert found["best"] == "openvino" and "times the reference" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- the pretrained model


@pytest.fixture
def pretrained():
    """Paths of the pretrained model, whose export is committed too."""
    paths = [PRETRAINED / name for name in PRETRAINED_FILES]
    assert matches_source(export_dir(paths[1]), *paths[:2]), (
        "model.exported is of other files: python sd/export_sd.py"
    )
    return paths


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_pretrained_model_looks_the_same_on_every_backend(pretrained, runtime):
    pytest.importorskip(runtime)
    plain, other = TorchBackend(*pretrained[:2], None, CPU), load_backend(*pretrained[:2], backend=runtime)
    dream = WorldModelEnv.load(plain, pretrained[2], 0)
    random = np.random.default_rng(0)
    for latents, actions in zip(dream.start_states.latents, dream.start_states.actions, strict=True):
        noise = random.standard_normal(plain.latent_shape, dtype=np.float32)
        states = [
            backend.step(backend.init_state(latents, actions), int(actions[-1]), noise)
            for backend in (plain, other)
        ]
        assert psnr_db(*states) >= 45


def test_it_plays_without_torch(pretrained, tmp_path):
    """Whoever only plays should not have to install gigabytes."""
    pytest.importorskip("openvino")
    banned = "torch torchvision cv2 matplotlib tqdm onnx gymnasium"
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({banned.split()})); sys.argv[1:] = {{}}; "
    code += (
        f"sys.path.insert(0, {str(SCRIPT.parent)!r}); runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    argv = [
        "--headless",
        "--model-path",
        str(pretrained[1]),
        "--frames",
        "3",
        "--record",
        str(tmp_path / "film.gif"),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", code.format(argv)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert (
        "OpenVINO" in ran.stdout
        and "3 frames" in ran.stdout
        and (tmp_path / "film.gif").stat().st_size > 1000
    )
