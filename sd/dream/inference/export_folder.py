"""The folder of an exported model: an ONNX graph for each function of backend.py, and dream.json.

dream.json holds the game, the shapes, a hash of the checkpoints that were exported, and checksums of the graphs and of
itself: a damaged export would play, with wrong frames, or crash the runtime."""

import hashlib
import json
from pathlib import Path

from dream.common.errors import InputError, shorten
from dream.common.game_info import GameInfo
from dream.common.limits import MAX_CONTEXT, MAX_STEPS
from dream.inference.runtimes import ArrayType, Graph, last_line

FORMAT = 5
GRAPHS = ("warp", "denoise", "decode")
OUTCOME = "outcome"  # the graph of a model that also predicts rewards
METADATA = "dream.json"
MAX_METADATA_BYTES = 2**20


def default_start_states(model_path: Path) -> Path:
    """Default path of a model's start states: next to the model."""
    return Path(model_path).with_name("initial_sequence.npz")


def export_dir(model_path: Path) -> Path:
    """Default folder of a model's export: model.exported next to model.pt."""
    return Path(model_path).with_suffix(".exported")


def is_export(folder: Path) -> bool:
    """Whether the folder holds an export, damaged or not."""
    return (folder / METADATA).is_file()


def write_metadata(folder: Path, metadata: dict) -> None:
    """Writes dream.json; adds the format version, the checksums of the graphs in `folder`, and its own."""
    paths = [folder / f"{graph}.onnx" for graph in (*GRAPHS, OUTCOME)]
    graphs = {
        path.stem: file_hash(path) for path in paths if path.name != f"{OUTCOME}.onnx" or path.is_file()
    }
    metadata = {**metadata, "format": FORMAT, "graphs": graphs}
    metadata["checksum"] = checksum(metadata)
    (folder / METADATA).write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")


def read_metadata(folder: Path) -> dict:
    """dream.json as a dict; "game" becomes a GameInfo, shapes become tuples.

    Raises InputError if it is missing, damaged or of another format version."""
    path = folder / METADATA
    if not path.is_file():
        raise InputError(f"no exported model at {folder}: sd/export_sd.py makes one")
    try:
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise ValueError(f"{METADATA} is too large")
        metadata = json.loads(path.read_text(encoding="utf-8"))
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r}, wanted {FORMAT}")
        if metadata["checksum"] != checksum(metadata):
            raise ValueError(f"{METADATA} has changed since the export")
        check_types(metadata)
        metadata["game"] = GameInfo.from_dict(metadata["game"])
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror or problem}") from None
    except Exception as problem:  # many types: nested too deep, numbers out of range, wrong types, no UTF-8
        raise damaged(folder, problem) from None
    return {**metadata, **{key: tuple(metadata[key]) for key in ("latent_shape", "frame_shape")}}


def check_types(metadata: dict) -> None:
    """Raises KeyError or ValueError if a setting in dream.json is missing, of another type or out of range."""

    def is_count(value: object, maximum: int) -> bool:
        return type(value) is int and 1 <= value <= maximum

    def is_shape(value: object, length: int) -> bool:
        return type(value) is list and len(value) == length and all(is_count(size, 2**16) for size in value)

    is_valid = {
        "source_hash": type(metadata["source_hash"]) is str,
        "autoencoder": type(metadata["autoencoder"]) is str,
        "int8": type(metadata["int8"]) is bool,
        "steps": is_count(metadata["steps"], MAX_STEPS),
        "context": is_count(metadata["context"], MAX_CONTEXT),
        "latent_shape": is_shape(metadata["latent_shape"], 3),
        "frame_shape": is_shape(metadata["frame_shape"], 2),
        "graphs": type(metadata["graphs"]) is dict and set(metadata["graphs"]) - {OUTCOME} == set(GRAPHS),
    }
    invalid = [name for name, valid in is_valid.items() if not valid]
    if invalid:
        raise ValueError(f"{METADATA} holds no valid {', '.join(invalid)}")


def check_files(folder: Path, metadata: dict) -> None:
    """Raises InputError if a graph's file is missing or is not the one that was exported."""
    for graph in metadata["graphs"]:
        path = folder / f"{graph}.onnx"
        try:
            if file_hash(path) != metadata["graphs"][graph]:
                raise damaged(folder, f"{path.name} has changed since the export")
        except OSError as problem:
            raise damaged(folder, f"{path.name}: {problem.strerror or problem}") from None


def check_graphs(folder: Path, metadata: dict, graphs: dict[str, Graph]) -> None:
    """Raises InputError if the inputs or outputs of a loaded graph do not fit the settings in dream.json. graphs: by
    name.

    A graph may lack inputs that its function does not use."""
    L, (C, h, w), (H, W) = metadata["context"], metadata["latent_shape"], metadata["frame_shape"]
    latent, scalar = ArrayType("float32", (1, C, h, w)), ArrayType("float32", (1,))
    context, actions = ArrayType("float32", (1, L, C, h, w)), ArrayType("int64", (1, L))
    frame, rgb = ArrayType("float32", (1, 3, H, W)), ArrayType("uint8", (1, H, W, 3))
    history = {"context": context, "actions": actions}
    expected = {
        "warp": ({**history, "frame": frame}, {"warped": latent}),
        "denoise": (
            {**history, "z": latent, "t": scalar, "t_next": scalar, "warped": latent},
            {"z_next": latent},
        ),
        "decode": (
            {"latent": latent, "last": latent, "warped": latent},
            {"new_latent": latent, "frame": frame, "rgb": rgb},
        ),
        OUTCOME: (history, {"reward_end": ArrayType("float32", (1, 2))}),
    }
    for name, graph in graphs.items():
        inputs, outputs = expected[name]
        unknown = [key for key, value in graph.inputs.items() if inputs.get(key) != value]
        if unknown:
            raise damaged(folder, f"input {unknown[0]!r} of {name}.onnx is not what {METADATA} says")
        if list(graph.outputs.items()) != list(outputs.items()):
            raise damaged(folder, f"the outputs of {name}.onnx are not what {METADATA} says")


def damaged(folder: Path, problem: object) -> InputError:
    """The error to raise for an export that cannot be read because of `problem`."""
    name, reason = shorten(folder, 100), last_line(problem)
    return InputError(
        f"{name} cannot be read as an exported model ({reason}): export it again with sd/export_sd.py"
    )


def checksum(metadata: dict) -> str:
    """SHA-256 of dream.json's content without its "checksum", in hex digits; spaces and line ends do not count."""
    rest = {key: value for key, value in metadata.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def source_hash(decoder_path: Path, model_path: Path) -> str:
    """SHA-1 of the two checkpoint files in hex digits; an export stores that of the files it was made from."""
    digest = hashlib.sha1()
    for path in (decoder_path, model_path):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def matches_source(folder: Path, decoder_path: Path, model_path: Path) -> bool:
    """Whether `folder` holds an export of these two files.

    If one of them does not exist, any export is accepted, because playing needs the export alone."""
    if not is_export(folder):
        return False
    if not (Path(decoder_path).is_file() and Path(model_path).is_file()):
        return True
    try:
        return read_metadata(folder)["source_hash"] == source_hash(decoder_path, model_path)
    except InputError:
        return False
