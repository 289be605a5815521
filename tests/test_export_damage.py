"""Damaged exports: every one is refused in one line, before it plays wrong frames or crashes a runtime."""

import json
import random

import export_sd
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.runs import load_checkpoint, save_checkpoint
from dream.inference import export
from dream.inference.export_folder import (
    GRAPHS,
    METADATA,
    checksum,
    export_dir,
    write_metadata,
)
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.runtimes import RUNTIMES
from dream.inference.select_backend import load_backend, select_backend
from dream.inference.torch_backend import TorchBackend
from small import CPU

VALUES = (None, True, -1, 0, 1.5, 10**9, 2**63, 1e308, float("nan"), "", "4", [], [4], [1, 1, 1], [2**63] * 3,
          [40000, 40000], {}, {"a": 1}, [[]], "x" * 100_000, "\x00\n")  # fmt: skip


def refused(folder, runtime="openvino") -> str:
    """The message with which an export is refused: one line of at most 300 characters."""
    with pytest.raises(InputError) as error:
        OnnxBackend(folder, runtime, None)
    line = str(error.value)
    assert "\n" not in line and line.isprintable() and len(line) <= 300, line
    return line


@pytest.fixture
def folder(copied):
    return export_dir(copied[1])


@pytest.mark.parametrize("name", [METADATA, *(f"{graph}.onnx" for graph in GRAPHS)])
def test_changed_bytes_are_noticed(folder, name):
    """Weights with one wrong bit would play, and nobody would know why the picture is wrong."""
    path, rng = folder / name, random.Random(0)
    whole = path.read_bytes()
    for _ in range(100):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 1, 20))):
            changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            del changed[rng.randrange(len(whole)) :]
        if name == METADATA and is_same_json(whole, changed):
            continue
        path.write_bytes(changed)
        assert "cannot be read as an exported model" in refused(folder)


@pytest.mark.parametrize("backend", ["auto", "openvino"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_damaged_file_is_not_blamed_on_the_runtime(copied, graph, backend, capsys):
    """The runtime is tried in a child process, where a damaged graph fails too."""
    path = export_dir(copied[1]) / f"{graph}.onnx"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=f"{graph}.onnx has changed since the export"):
        load_backend(*copied[:2], backend=backend)
    with pytest.raises(InputError, match="has changed"):
        select_backend(*copied[:2])
    assert "does not work" not in capsys.readouterr().out


def is_same_json(one: bytes, other: bytes) -> bool:
    """Whether only spaces differ."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize("key", ["steps", "context", "latent_shape", "frame_shape", "int8", "autoencoder", "game",
                                 "source_hash", "graphs", "format"])  # fmt: skip
def test_settings_of_another_type_or_size_are_refused(folder, key):
    """With a checksum that fits, as another program could write it."""
    saved = json.loads((folder / METADATA).read_text())
    for value in (*VALUES, "missing"):
        metadata = {**saved, key: value}
        if value == "missing":
            del metadata[key]
        if type(value) is type(saved[key]) is str or (type(value) is type(saved[key]) is bool):
            continue  # valid
        metadata["checksum"] = checksum(metadata)
        (folder / METADATA).write_text(json.dumps(metadata))
        refused(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "null", "1e999", "", "{", "\ufeff{}", '"format"'])
def test_other_json_is_refused(folder, text):
    (folder / METADATA).write_text(text, encoding="utf-8")
    refused(folder)
    (folder / METADATA).write_bytes(b"\xff\xfe" + text.encode())
    refused(folder)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_graphs_that_do_not_fit_the_settings_are_refused(folder, runtime):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip(runtime)
    whole = {name: (folder / f"{name}.onnx").read_bytes() for name in GRAPHS}
    metadata = json.loads((folder / METADATA).read_text())

    def renamed(name: str, old: str, new: str) -> bytes:
        model = onnx.load_from_string(whole[name])
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new if each == old else each for each in names]
        return model.SerializeToString()

    def with_nan(name: str) -> bytes:
        model = onnx.load_from_string(whole[name])
        weight = max(model.graph.initializer, key=lambda each: np.prod(each.dims))
        values = np.full_like(onnx.numpy_helper.to_array(weight), np.nan)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return model.SerializeToString()

    for graphs, words in (
        ({"warp": whole["decode"], "decode": whole["warp"]}, "input"),
        ({"denoise": renamed("denoise", "context", "history")}, "input 'history' of denoise.onnx"),
        ({"decode": renamed("decode", "rgb", "picture")}, "outputs of decode.onnx"),
        ({"decode": with_nan("decode")}, "not finite"),
    ):
        for name, content in {**whole, **graphs}.items():
            (folder / f"{name}.onnx").write_bytes(content)
        write_metadata(folder, metadata)
        assert words in refused(folder, runtime)
    for key, value in (("frame_shape", [40_000, 40_000]), ("latent_shape", [4, 12, 8]), ("context", 5)):
        for name, content in whole.items():
            (folder / f"{name}.onnx").write_bytes(content)
        write_metadata(folder, {**metadata, key: value})
        assert "is not what dream.json says" in refused(folder, runtime)


def test_a_long_path_leaves_room_for_the_reason(folder):
    deep = folder / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / METADATA).write_text("{}")
    assert "'format'" in refused(deep)


# ------------------------------------------------------------------------------------------------ writing an export


def test_a_good_export_is_not_replaced_by_one_that_fails(copied, capsys):
    """A damaged model.pt was once exported over the good export next to it."""
    decoder, model, _ = copied
    folder = export_dir(model)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fails(match: str) -> None:
        with pytest.raises(InputError, match=match):
            load_backend(decoder, model, backend="onnxruntime")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert not list(folder.parent.glob("*.writing"))

    model_bytes = model.read_bytes()
    model.write_bytes(model_bytes[: len(model_bytes) // 2])
    fails("damaged")
    assert "exporting" not in capsys.readouterr().out
    model.write_bytes(model_bytes)
    checkpoint = load_checkpoint(model, "dream", "")
    name = next(name for name in checkpoint["model"] if name.startswith("flow") and name.endswith("bias"))
    checkpoint["model"][name] = checkpoint["model"][name] * float("nan")
    save_checkpoint(checkpoint, model)
    fails("finite")
    model.write_bytes(model_bytes)
    backend = TorchBackend(decoder, model, None, CPU)
    export.check_export(folder, backend, model)
    for weight in backend.decoder.parameters():
        weight.zero_()
    with pytest.raises(InputError, match="generates other frames than the model"):
        export.check_export(folder, backend, model)


def test_a_folder_of_other_files_is_not_replaced(copied, tmp_path):
    """`--output-dir` once removed whatever the folder held."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("dear")
    (tmp_path / "file").touch()
    for folder in ("documents", "file"):
        args = ["--model-path", str(copied[1]), "--output-dir", str(tmp_path / folder), "--float"]
        with pytest.raises(InputError, match="is not an export"):
            export_sd.main(export_sd.parse_args(args))
    assert (tmp_path / "documents" / "letter.txt").read_text() == "dear"


def test_a_folder_is_kept_until_the_new_one_has_its_name(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    export.replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "which").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OSError, match="No such"):
        export.replace_folder(tmp_path / "no such", tmp_path / "old")
    assert (tmp_path / "old" / "which").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
