"""The export: 16-bit weights, 8-bit convolutions, the files it was made from, damaged exports."""

import json
from pathlib import Path

import export_sd
import numpy as np
import pytest
from backend_helpers import fake_export, psnr_db
from dream.common.errors import InputError
from dream.common.runs import load_checkpoint, save_checkpoint
from dream.inference import export
from dream.inference.export_folder import GRAPHS, METADATA, export_dir, matches_source, write_metadata
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.select_backend import load_backend
from dream.inference.world_model_env import WorldModelEnv
from pretrained import PRETRAINED


def test_weights_are_kept_in_half_precision(exported):
    """In float32 they would be twice the size of the checkpoint, too large for the repository."""
    size = sum((export_dir(exported[1]) / f"{part}.onnx").stat().st_size for part in GRAPHS)
    weights = sum(path.stat().st_size for path in exported[:2])
    assert size < 1.5 * weights + 200_000


def test_an_export_does_not_name_folders_of_the_machine_that_made_it(exported):
    folder = str(Path(export_sd.__file__).parent).encode()
    for graph in (*export_dir(exported[1]).glob("*.onnx"), *(PRETRAINED / "model.exported").glob("*.onnx")):
        assert folder not in graph.read_bytes() and b"site-packages" not in graph.read_bytes(), graph


@pytest.mark.slow
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
    env = WorldModelEnv.load(plain, starts, 0)
    start_state, noise = (
        (env.start_states.latents[1], env.start_states.actions[1]),
        np.ones(plain.latent_shape, np.float32),
    )
    states = [backend.step(backend.init_state(*start_state), 2, noise) for backend in (plain, rounded)]
    assert psnr_db(*states) > 40 and (states[0].context != states[1].context).any()


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
    """Its start states may be in another folder (--trajectory-path); the model must be playable all the same."""
    decoder, model, starts = copied
    calls = []
    monkeypatch.setattr(export, "export_model", lambda *paths: calls.append(paths[2]) or fake_export(*paths))
    for there in (True, False):
        if not there:
            starts.unlink()
        metadata = export_dir(model) / METADATA
        write_metadata(metadata.parent, {**json.loads(metadata.read_text()), "source_hash": "others"})
        load_backend(decoder, model, backend="openvino")
    assert calls == [starts, None]


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
