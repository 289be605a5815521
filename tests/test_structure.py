"""Structure of the code base: allowed imports, equal copies, Python 3.8, options by name. No script is run here."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIDES = {"sd": "dream", "ppo": "player"}
FILES = sorted(path for side in SIDES for path in (ROOT / side).rglob("*.py"))
MAX_LINES = 300

# From the lowest layer up: a package imports only from packages of lower layers.
LAYERS = {
    "dream": ["common", "models", "data", "training inference play pipeline", "evaluation window web"],
    "player": ["common", "rl recording games video", "envs", "window evaluation"],
}


@functools.cache
def parse_file(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(path: Path) -> dict[str, bool]:
    """Modules that a file imports, by full name, and whether at its top level; from X import Y also counts as X.Y."""
    tree, modules = parse_file(path), {}
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            modules[name] = modules.get(name, False) or id(node) in top
    return modules


def module_name(path: Path) -> str | None:
    """A file's module name inside the side's package ("" for the package itself); None for a script."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    if parts[0] not in SIDES.values():
        return None
    return ".".join(part for part in parts[1:] if part != "__init__")


def imported_packages(path: Path) -> set[str]:
    """Top-level packages that a file imports, with those of the side itself."""
    return {name.split(".")[0] for name in imported_modules(path)}


@pytest.mark.parametrize("side", SIDES)
def test_packages_import_only_from_lower_layers(side):
    """An import cycle fails or not depending on which file is imported first."""
    package = SIDES[side]
    layer_of = {name: layer for layer, names in enumerate(LAYERS[package]) for name in names.split()}
    for path in (ROOT / side / package).glob("*/**/*.py"):
        own = module_name(path).split(".")[0]
        for imported in imported_modules(path):
            other = imported.split(".")[1] if imported.startswith(f"{package}.") else own
            assert other == own or layer_of[other] < layer_of[own], f"{path} imports {imported}"


def test_the_two_sides_do_not_import_each_other():
    """Their only link is trajectories.npz: each side works without the other."""
    for path in FILES:
        side = path.relative_to(ROOT).parts[0]
        other = {"sd": "ppo", "ppo": "sd"}[side]
        scripts = {script.stem for script in (ROOT / other).glob("*.py")}
        assert not imported_packages(path) & {SIDES[other], other, *scripts}, path


def test_models_are_pure():
    """Models that read files or clocks could not be tested against closed-form results."""
    for name in ("autoencoder", "diffusion", "flow", "unet", "rollout"):
        packages = imported_packages(ROOT / "sd" / "dream" / "models" / f"{name}.py")
        assert packages <= {"torch", "dream", "collections", "dataclasses", "itertools", "math"}, (
            f"{name}: {packages}"
        )


def test_pygame_is_imported_only_in_window():
    """Training must work without pygame and without a screen."""
    for path in FILES:
        uses_pygame = "pygame" in imported_packages(path)
        assert not uses_pygame or path.parent.name == "window", path


def test_playing_an_exported_model_needs_no_torch():
    """PyTorch takes gigabytes: who only plays should not have to install it."""
    code = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, 'sd'); import play_sd; "
        "import dream.inference.onnx_backend, dream.window.window"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_games_need_no_torch():
    """With torch, each worker process would take seconds to start and hundreds of megabytes."""
    player = ROOT / "ppo" / "player"
    for path in [*player.glob("games/**/*.py"), *player.glob("envs/*.py"), player / "__init__.py"]:
        assert "torch" not in imported_packages(path), path


def test_optional_libraries_are_not_imported_at_top_level():
    """Everything else must work on a machine without the emulator."""
    for path in FILES:
        top = {name.split(".")[0] for name, at_top in imported_modules(path).items() if at_top}
        assert not top & {"stable_retro", "retro", "matplotlib", "openvino", "onnxruntime"}, path


def test_nothing_is_unpickled():
    """A pickle file can execute any code when it is loaded."""
    for path in FILES:
        # lpips.py restricts unpickling to arrays and checks a checksum: LPIPS weights exist only as a pickle
        allowed = {"pickle"} if path.name == "lpips.py" else set()
        assert (
            not imported_packages(path)
            & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"} - allowed
        ), path
        for node in ast.walk(parse_file(path)):
            if not isinstance(node, ast.Call):
                continue
            keywords = {word.arg: word.value for word in node.keywords}
            called = ast.unparse(node.func)
            assert called not in ("pickle.load", "pickle.loads", "pickle.Unpickler"), f"{path}:{node.lineno}"
            if called == "torch.load":
                assert "weights_only" in keywords, f"{path}:{node.lineno}"
            for name, wanted in (("weights_only", True), ("allow_pickle", False)):
                if name in keywords:
                    value = keywords[name]
                    assert isinstance(value, ast.Constant) and value.value is wanted, f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "name",
    [
        *("errors.py", "files.py", "runs.py", "agent_view.py", "key_names.py"),
        "disk_room.py",
        "mp4.py",
        "pictures.py",
        "progress.py",
        "startup.py",
    ],
)
def test_twins_are_equal(name):
    """Files that exist on both sides, because they share no code, differ only in the package name."""
    texts = [
        (ROOT / side / package / "common" / name).read_text(encoding="utf-8")
        for side, package in SIDES.items()
    ]
    sd, ppo = (re.sub(r"sd/dream|ppo/player|\bdream\b|\bplayer\b", "PACKAGE", text) for text in texts)
    assert sd == ppo


def test_ppo_is_python_3_8():
    """gym-retro, the emulator library for Windows, needs Python 3.8; newer syntax fails there at import."""
    for path in (ROOT / "ppo").rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))
        for node in ast.walk(parse_file(path)):  # syntax that 3.8 parses but cannot execute
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                assert node.value.id not in {"list", "dict", "tuple", "set", "type"}, f"{path}:{node.lineno}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"removeprefix", "removesuffix"}, f"{path}:{node.lineno}"
            if isinstance(node, (ast.AnnAssign, ast.arg)) and isinstance(node.annotation, ast.BinOp):
                raise AssertionError(f"{path}:{node.lineno}: X | Y as a type")
            if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.BinOp):
                raise AssertionError(f"{path}:{node.lineno}: X | Y as a type")
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip":
                assert not any(word.arg == "strict" for word in node.keywords), f"{path}:{node.lineno}"
        assert not {name.split(".")[-1] for name in imported_modules(path)} & {
            "pairwise",
            "batched",
            "StrEnum",
        }, path


def test_files_are_short():
    """A file that answers one question is short enough to be read."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert max(lengths.values()) <= MAX_LINES, max(lengths, key=lengths.get)


TRAINING = "--trajectories --output-dir --epochs --max-minutes --resume --seed --device"
OPTIONS = {
    "train_ppo": "--n-envs --n-epochs --n-steps --batch-size --train-iters --gamma --gae-lambda --clip-ratio "
    "--ent-coef --vf-coef --learning-rate --checkpoint-model --recording-start --recording-end --game --state "
    "--integrations --frame-skip --seed --output-dir --resume --device",
    "train_autoencoder": TRAINING,
    "train_sd": f"{TRAINING} --autoencoder-dir",
    "play_sd": "--decoder-path --model-path --trajectory-path --headless --frames --keys --record --steps --seed "
    "--device",
    "inspect_trajectories": "--trajectories --save",
}


@pytest.mark.parametrize("script", OPTIONS)
def test_options_by_name(script, capsys):
    """Options of the original project keep their names, so that its commands still work."""
    with pytest.raises(SystemExit) as exit_info:
        importlib.import_module(script).parse_args(["--help"])
    assert not exit_info.value.code
    listed = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capsys.readouterr().out.split("\noptions:")[1]))
    assert set(OPTIONS[script].split()) <= listed


def test_scripts_share_one_structure():
    """Every script has a docstring, parse_args, and run_script, which reports user errors in one line."""
    scripts = [*(ROOT / "sd").glob("*.py"), *(ROOT / "ppo").glob("*.py")]
    scripts.remove(ROOT / "sd" / "dream_env.py")  # a module to import
    assert len(scripts) >= 6
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(parse_file(path)) and "\ndef parse_args(" in text, path
        ends = (
            "run_script(lambda: main(parse_args()))",
            "run_script(lambda: main(parse_args()), can_resume=True)",
        )
        assert text.rstrip().endswith(ends), path
