"""The house: what may import what, what both sides hold in common, options by name. No script is run here."""

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
MAX_LINES = 390  # on the way to 300

# From the bottom up: a package imports only from packages below its own.
LAYERS = {
    "dream": ["common", "models", "data", "training inference play", "evaluation window"],
    "player": ["common", "rl recording games", "envs", "window"],
}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path) -> dict[str, bool]:
    """Modules that a file imports, by full name, and whether at its top level; from X import Y counts as X.Y too."""
    tree, found = tree_of(path), {}
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
            found[name] = found.get(name, False) or id(node) in top
    return found


def module_of(path: Path) -> str | None:
    """Its name inside the side's package ("" for the package itself), or None for a script."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    if parts[0] not in SIDES.values():
        return None
    return ".".join(part for part in parts[1:] if part != "__init__")


def outside(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("side", SIDES)
def test_a_package_imports_only_from_packages_below(side):
    """A cycle works by luck of the order, until somebody imports the other file first."""
    package = SIDES[side]
    layer_of = {name: layer for layer, names in enumerate(LAYERS[package]) for name in names.split()}
    for path in (ROOT / side / package).glob("*/**/*.py"):
        here = module_of(path).split(".")[0]
        for imported in imports_of(path):
            other = imported.split(".")[1] if imported.startswith(f"{package}.") else here
            assert other == here or layer_of[other] < layer_of[here], f"{path} imports {imported}"


def test_the_wall_between_the_sides():
    """They meet in one file, trajectories.npz: whoever has one needs the other side for nothing."""
    for path in FILES:
        side = path.relative_to(ROOT).parts[0]
        other = {"sd": "ppo", "ppo": "sd"}[side]
        scripts = {script.stem for script in (ROOT / other).glob("*.py")}
        assert not outside(path) & {SIDES[other], other, *scripts}, path


def test_the_models_are_pure():
    """Maths that reads files, clocks or screens cannot be tested against a closed form."""
    for name in ("autoencoder", "diffusion", "flow", "unet", "rollout"):
        found = outside(ROOT / "sd" / "dream" / "models" / f"{name}.py")
        assert found <= {"torch", "dream", "collections", "dataclasses", "itertools", "math"}, (
            f"{name}: {found}"
        )


def test_pygame_stays_in_the_window():
    """It may be missing, and it wants a screen: training must not need it."""
    for path in FILES:
        found = [name for name in imports_of(path) if name.split(".")[0] == "pygame"]
        assert not found or path.parent.name == "window", path


def test_playing_an_exported_dream_needs_no_torch():
    """Gigabytes to install for whoever only wants to drive; what wants torch is imported where it is used."""
    without = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, 'sd'); import play_sd; "
        "import dream.inference.onnx_backend, dream.window.window"
    )
    subprocess.run([sys.executable, "-c", without], cwd=ROOT, check=True)


def test_games_need_no_torch():
    """Each worker process would take seconds and hundreds of megabytes more."""
    player = ROOT / "ppo" / "player"
    for path in [*player.glob("games/**/*.py"), *player.glob("envs/*.py"), player / "__init__.py"]:
        assert "torch" not in outside(path), path


def test_optional_libraries_are_imported_where_they_are_used():
    """On a machine without the emulator all the rest must run."""
    for path in FILES:
        top = {name.split(".")[0] for name, at_top in imports_of(path).items() if at_top}
        assert not top & {"stable_retro", "retro", "matplotlib", "openvino", "onnxruntime"}, path


def test_nothing_is_unpickled():
    """A pickle from a stranger runs what it likes."""
    for path in FILES:
        # lpips.py narrows the unpickler to arrays, behind a checksum: LPIPS's weights come as nothing else
        allowed = {"pickle"} if path.name == "lpips.py" else set()
        assert (
            not outside(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"} - allowed
        ), path
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            given = {word.arg: word.value for word in node.keywords}
            called = ast.unparse(node.func)
            assert called not in ("pickle.load", "pickle.loads", "pickle.Unpickler"), f"{path}:{node.lineno}"
            if called == "torch.load":
                assert "weights_only" in given, f"{path}:{node.lineno}"
            for name, wanted in (("weights_only", True), ("allow_pickle", False)):
                if name in given:
                    value = given[name]
                    assert isinstance(value, ast.Constant) and value.value is wanted, f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", ["errors.py", "runs.py", "agent_view.py"])
def test_twins_are_equal(name):
    """What is written on both sides drifts apart unless something holds it."""
    texts = [
        (ROOT / side / package / "common" / name).read_text(encoding="utf-8")
        for side, package in SIDES.items()
    ]
    ours, theirs = (re.sub(r"sd/dream|ppo/player|\bdream\b|\bplayer\b", "HERE", text) for text in texts)
    assert ours == theirs


def test_the_playing_side_is_python_3_8():
    """gym-retro, the emulator layer for Windows, needs it; newer syntax fails there at import."""
    for path in (ROOT / "ppo").rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))
        for node in ast.walk(tree_of(path)):  # what parses and fails when it runs
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
        assert not {name.split(".")[-1] for name in imports_of(path)} & {"pairwise", "batched", "StrEnum"}, (
            path
        )


def test_no_file_grows_too_long():
    """One file, one question: a script that grew is read by nobody."""
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
    """Commands that others have written down must go on working."""
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(script).parse_args(["--help"])
    assert not ended.value.code
    listed = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capsys.readouterr().out.split("\noptions:")[1]))
    assert set(OPTIONS[script].split()) <= listed


def test_scripts_keep_to_the_front_door():
    """Every script answers what a user can cause in one line, from wherever it is started."""
    scripts = [*(ROOT / "sd").glob("*.py"), *(ROOT / "ppo").glob("*.py")]
    assert len(scripts) >= 6
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(tree_of(path)) and "\ndef parse_args(" in text, path
        assert text.rstrip().endswith("run_script(lambda: main(parse_args()))"), path
