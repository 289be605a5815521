"""The choice of the backend."""

import shutil

import pytest
from dream.common.errors import InputError
from dream.inference import select_backend as backends
from dream.inference.export_folder import export_dir
from dream.inference.select_backend import load_backend
from dream.inference.torch_backend import CudaBackend, TorchBackend
from small import CPU


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
    export_dir(model).mkdir()
    (export_dir(model) / "dream.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as an exported model"):
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
    assert chosen() == "openvino"  # without the NVIDIA driver, PyTorch is not asked for a GPU
