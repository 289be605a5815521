"""The backends: all generate the frames of the PyTorch backend, and an exported model needs no PyTorch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import export_sd
import numpy as np
import pytest
import torch
from backend_helpers import RUNTIMES, psnr_db
from dream.evaluation.exported_modules import OnnxDecoder, OnnxUNet
from dream.inference.backend import State, sampling_timesteps
from dream.inference.export_folder import export_dir, matches_source
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.select_backend import load_backend
from dream.inference.torch_backend import CudaBackend, TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from dream.models.autoencoder import decode
from dream.models.rollout import sample_next_latent
from pretrained import PRETRAINED, PRETRAINED_FILES
from small import CPU, save_small_world_model

ROOT = Path(__file__).resolve().parent.parent
GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
SCRIPT = ROOT / "sd" / "play_sd.py"


def test_timesteps_go_from_noise_to_none():
    assert list(sampling_timesteps(1)) == [(1, 0)]
    assert list(sampling_timesteps(4)) == [(1, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("steps", [1, 3])
def test_an_exported_model_generates_the_same_frames(exported, runtime, steps):
    """Compared frame by frame from equal states, to detect a transposed axis, an old action or a missing part."""
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


def test_what_stands_still_is_exported(tmp_path):
    """In a model whose flow moves nothing no frame may differ from the one before, in any backend."""
    for threshold, is_still in ((10.0, True), (0.0, False)):
        folder = tmp_path / str(threshold)
        folder.mkdir()
        paths = save_small_world_model(folder, no_flow=True, still_threshold=threshold)
        export_sd.main(export_sd.parse_args(["--model-path", str(paths["model_path"]), "--float"]))
        backends = [TorchBackend(paths["decoder_path"], paths["model_path"], 1, CPU)]
        backends += [OnnxBackend(export_dir(paths["model_path"]), runtime, 1) for runtime in RUNTIMES]
        with np.load(paths["trajectory_path"]) as starts:
            start_state = starts["frames"][0].astype(np.float32), starts["actions"][0]
        noise = np.random.default_rng(0).standard_normal(backends[0].latent_shape, dtype=np.float32)
        for backend in backends:
            first = backend.init_state(*start_state)
            assert (backend.step(first, 1, noise).rgb == first.rgb).all() == is_still, backend.name


def test_a_bicubic_warp_is_exported(tmp_path):
    paths = save_small_world_model(tmp_path, warp="bicubic")
    export_sd.main(export_sd.parse_args(["--model-path", str(paths["model_path"]), "--float"]))
    bicubic = TorchBackend(paths["decoder_path"], paths["model_path"], 1, CPU)
    with np.load(paths["trajectory_path"]) as starts:
        start_state = starts["frames"][0].astype(np.float32), starts["actions"][0]
    noise = np.random.default_rng(0).standard_normal(bicubic.latent_shape, dtype=np.float32)

    def second_frame(backend) -> State:
        return backend.step(backend.init_state(*start_state), 1, noise)

    for runtime in RUNTIMES:
        other = OnnxBackend(export_dir(paths["model_path"]), runtime, 1)
        assert psnr_db(second_frame(bicubic), second_frame(other)) > 45
    expected = second_frame(bicubic)
    bicubic.unet.config = replace(bicubic.unet.config, warp="bilinear")
    assert (second_frame(bicubic).rgb != expected.rgb).any()


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_the_captured_frame_is_that_of_plain_torch(exported, device):
    """On a CPU nothing is captured, but tensors are copied in and out in the same way."""
    device = torch.device(device)
    plain, captured = TorchBackend(*exported[:2], 1, device), CudaBackend(*exported[:2], 1, device)
    env, random = WorldModelEnv.load(plain, exported[2], 0), np.random.default_rng(0)
    start_state = env.start_states.latents[1], env.start_states.actions[1]
    states = plain.init_state(*start_state), captured.init_state(*start_state)
    for action, steps in ((2, 1), (0, 1), (1, 3), (1, 3), (2, 1)):
        noise = random.standard_normal(plain.latent_shape, dtype=np.float32)
        plain.steps = captured.steps = steps
        states = plain.step(states[0], action, noise), captured.step(states[0], action, noise)
        assert psnr_db(*states) > 45 and torch.equal(states[0].actions, states[1].actions)
        assert (states[0].context - states[1].context).abs().mean() < 0.02


def test_a_state_is_never_written_into(exported):
    """Rewinding stores states, which must not change when play continues."""
    pytest.importorskip("openvino")
    for backend in (
        TorchBackend(*exported[:2], 1, CPU),
        CudaBackend(*exported[:2], 1, CPU),
        OnnxBackend(export_dir(exported[1]), "openvino", 1),
    ):
        env = WorldModelEnv.load(backend, exported[2], 0)
        state = env.state
        noise = np.zeros(backend.latent_shape, np.float32)
        frames = [backend.step(state, 2, noise).rgb]
        for action in (0, 1, 2):
            env.step(action)
        frames.append(backend.step(state, 2, noise).rgb)
        np.testing.assert_array_equal(*frames)


@torch.no_grad()
def test_what_is_measured_is_what_is_played(exported):
    """evaluate_sd.py runs the exported model instead of the networks; frames must equal those in play bit for bit."""
    pytest.importorskip("openvino")
    plain, played = (
        TorchBackend(*exported[:2], 2, CPU),
        OnnxBackend(export_dir(exported[1]), "openvino", 2),
    )
    decoder = OnnxDecoder(plain.decoder, played)
    unet = OnnxUNet(plain.unet, played).attach_autoencoder(plain.unet.autoencoder[0], decoder)
    env = WorldModelEnv.load(played, exported[2], 0)
    context, actions = (
        torch.from_numpy(env.start_states.latents),
        torch.from_numpy(env.start_states.actions),
    )
    noise = torch.randn(context[:, -1].shape, generator=torch.Generator().manual_seed(0))
    latents = sample_next_latent(unet, context, actions, noise, 2)
    frames = decode(decoder, latents)
    for i in range(env.num_starts):
        state = played.init_state(env.start_states.latents[i], env.start_states.actions[i])
        state = played.step(state, int(env.start_states.actions[i, -1]), noise[i].numpy())
        np.testing.assert_array_equal(state.context[0, -1], latents[i])
        np.testing.assert_array_equal(state.frame[0], frames[i])
    # the PyTorch networks give other numbers: the result is that of the export
    assert not torch.equal(latents, sample_next_latent(plain.unet, context, actions, noise, 2))


@pytest.fixture
def pretrained():
    """Paths of the pretrained model, whose export is in the repository as well."""
    paths = [PRETRAINED / name for name in PRETRAINED_FILES.values()]
    assert matches_source(export_dir(paths[1]), *paths[:2]), (
        "model.exported was made from other files: run python sd/export_sd.py"
    )
    return paths


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_pretrained_model_looks_the_same_on_every_backend(pretrained, runtime):
    pytest.importorskip(runtime)
    plain, other = TorchBackend(*pretrained[:2], None, CPU), load_backend(*pretrained[:2], backend=runtime)
    env = WorldModelEnv.load(plain, pretrained[2], 0)
    random = np.random.default_rng(0)
    for latents, actions in zip(env.start_states.latents, env.start_states.actions, strict=True):
        noise = random.standard_normal(plain.latent_shape, dtype=np.float32)
        states = [
            backend.step(backend.init_state(latents, actions), int(actions[-1]), noise)
            for backend in (plain, other)
        ]
        assert psnr_db(*states) >= 45


def test_it_plays_without_torch(pretrained, tmp_path):
    """Playing must not need PyTorch and other packages of several gigabytes."""
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
