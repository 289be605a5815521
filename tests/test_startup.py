"""Scripts that cannot begin: without packages, on an old Python, interrupted while packages load, invalid options.

Each says so in one line."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dream.common import startup

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [path for side in ("sd", "ppo") for path in sorted((ROOT / side).glob("*.py"))]
NAMES = [f"{path.parent.name}/{path.name}" for path in SCRIPTS]


def run(*argv: object, modules: Path | None = None) -> subprocess.CompletedProcess:
    """Runs Python with these arguments; `modules`: a folder of modules that are found first."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if modules:
        env["PYTHONPATH"] = str(modules)
    return subprocess.run(
        [sys.executable, *map(str, argv)], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


def one_line(ran: subprocess.CompletedProcess) -> str:
    assert ran.returncode != 0 and ran.stdout == "", ran.stdout
    assert ran.stderr.count("\n") == 1 and len(ran.stderr) <= 301, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_script_imports_its_own_package_first(name):
    """Its package reports what is missing; a package that is imported before it would give a traceback."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    others = [name for name in names if name.split(".")[0] not in sys.stdlib_module_names]
    stems = {path.stem for path in SCRIPTS}
    assert others[0].split(".")[0] in {"dream", "player", *stems}, others[0]


@pytest.mark.parametrize(
    "name", ["sd/play_sd.py", "sd/train_sd.py", "ppo/train_ppo.py", "ppo/import_video.py"]
)
def test_without_packages_the_advice_is_printed(name):
    """`python sd/play_sd.py` with the system's Python was a traceback."""
    said = one_line(run("-S", "-s", name))  # -S: no site-packages
    assert said.startswith(f"error: {sys.executable} has no package ")
    assert "make setup" in said or f".venv/bin/python {name}" in said or name.replace("/", "\\") in said


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "raise ImportError('libgfortran.so.5: cannot open shared object file')",
            "libgfortran.so.5: cannot open",
        ),
        ("raise KeyboardInterrupt", "interrupted"),
    ],
)
def test_while_packages_load(tmp_path, code, words):
    (tmp_path / "numpy.py").write_text(code)
    assert words in one_line(run("sd/inspect_trajectories.py", modules=tmp_path))


def test_our_own_mistakes_keep_their_traceback(tmp_path):
    (tmp_path / "numpy.py").write_text("import dream.no_such_module")
    assert "Traceback" in run("sd/inspect_trajectories.py", modules=tmp_path).stderr
    (tmp_path / "numpy.py").write_text("1 / 0")
    assert "ZeroDivisionError" in run("sd/inspect_trajectories.py", modules=tmp_path).stderr


@pytest.mark.parametrize(("name", "wanted"), [("sd/play_sd.py", "3.10"), ("ppo/train_ppo.py", "3.8")])
def test_an_old_python(name, wanted):
    code = f"import runpy, sys; sys.version_info = (3, 7, 5); sys.path.insert(0, {str((ROOT / name).parent)!r}); "
    said = one_line(run("-c", code + f"runpy.run_path({name!r}, run_name='__main__')"))
    assert f"needs Python {wanted} or newer, and {sys.executable} is 3.7.5" in said


def test_an_old_python_can_read_so_far():
    """Syntax that it does not know would fail before anything can be said."""
    common = ROOT / "sd" / "dream" / "common"
    files = [
        ROOT / "sd/dream/__init__.py",
        common / "__init__.py",
        common / "startup.py",
        common / "errors.py",
        common / "offline.py",
    ]
    for path in (*files, *SCRIPTS):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 6))


def test_other_programs_keep_their_own_hook():
    ran = run(
        "-c",
        "import sys; sys.path.insert(0, 'sd'); import dream; print(sys.excepthook is sys.__excepthook__)",
    )
    assert ran.stdout == "True\n", ran.stderr


@pytest.mark.parametrize(
    "argv",
    [["--frames", "ten"], ["--backend", "x\ny"], ["--no-such-option"], ["--scale", "9" * 1000], ["--seed"]],
)
def test_an_invalid_option_is_one_line(argv, capsys):
    """argparse prints eight lines of usage before the reason."""
    import play_sd

    with pytest.raises(SystemExit) as caught:
        play_sd.parse_args(argv)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1 and len(said) <= 300
    assert said.startswith("error: ") and "--help)" in said


def test_every_script_reports_options_in_this_way():
    for path in SCRIPTS:
        assert "argparse.ArgumentParser(" not in path.read_text(encoding="utf-8"), path


def test_the_advice_depends_on_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(startup, "ROOT", str(tmp_path))
    monkeypatch.setattr(startup, "VENV", str(tmp_path / ".venv"))
    assert startup.install_advice().startswith("make setup")
    folder = tmp_path / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    folder.mkdir(parents=True)
    (folder / "python").touch()
    monkeypatch.setattr(sys, "argv", ["sd/play_sd.py"])
    assert startup.install_advice().startswith("use ") and startup.install_advice().endswith(
        os.path.join("sd", "play_sd.py")
    )
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert startup.install_advice().startswith("make setup")


def test_a_printed_command_is_one_that_works(monkeypatch, tmp_path):
    """Somebody without an activated environment has no `python`, or another one."""
    python = tmp_path / ".venv" / "bin" / "python"
    monkeypatch.setattr(startup, "ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    script = os.path.join("sd", "play_sd.py")
    assert startup.command_line("sd/play_sd.py", "--frames", 3) == (
        f"{os.path.join('.venv', 'bin', 'python')} {script} --frames 3"
    )
    if os.name != "nt":
        assert startup.command_line("sd/play_sd.py", "a b") == ".venv/bin/python sd/play_sd.py 'a b'"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert startup.command_line("sd/play_sd.py") == f"{python} {tmp_path / script}"
    monkeypatch.setattr(startup.shutil, "which", lambda name: str(python))  # an activated environment
    assert startup.command_line("sd/play_sd.py") == f"python {tmp_path / script}"


def test_the_time_of_a_script_begins_before_its_packages_load():
    """A budget of one minute does not begin after ten seconds of loading."""
    assert startup.script_began() > startup.IMPORTED_S
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'sd')!r}); import __main__; "
        f"__main__.__file__ = {str(ROOT / 'sd' / 'train_sd.py')!r}; "
        "from dream.common import startup; assert startup.script_began() == startup.IMPORTED_S"
    )
    ran = run("-c", code)
    assert ran.returncode == 0, ran.stderr
