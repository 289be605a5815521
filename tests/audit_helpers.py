"""Runs Python code in a process, and in those that it starts, with an audit hook that logs what should not happen
offline, and prevents it: connections, other programs, files written below the home folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# sitecustomize.py is imported by every Python process at its start.
HOOK = """
import os, sys
HOME, LOG = os.environ["HOME"], os.environ["AUDIT_LOG"]
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "urllib.Request")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile")

# PyTorch asks for the libraries of the system, platform for the processor, matplotlib for the fonts.
ALLOWED = (os.path.basename(sys.executable), "ldconfig", "uname", "fc-list")

def is_allowed(args):
    return os.path.basename(os.fsdecode(args[0] or args[1][0])) in ALLOWED

def hook(event, args):
    wrong = event in NETWORK or (event in PROGRAMS and not is_allowed(args))
    if event == "open" and isinstance(args[0], (str, bytes)):
        path, writes = os.path.abspath(os.fsdecode(args[0])), (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        wrong = writes and path.startswith(HOME + os.sep) and path != LOG
    if event == "import" and args[0].partition(".")[0] == "openvino_telemetry":
        wrong = sys.modules.get("openvino_telemetry", 0) is not None
    if event == "import" and args[0] == "onnxruntime":
        wrong = os.environ.get("ORT_DISABLE_TELEMETRY") != "1"
    if wrong:
        with open(LOG, "a") as log:
            print(event, str(args)[:300].replace(chr(10), " "), file=log)
        if event == "import" or event in NETWORK:
            raise ImportError("not allowed in this test")

sys.addaudithook(hook)
"""


def run_audited(folder: Path, *argv: object) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Runs Python with these arguments; HOME is an empty folder. Returns the finished process, and what it did wrong:
    audit events, and files in the home folder, which native code writes unseen by the hook."""
    home, modules, log = folder / "home", folder / "modules", folder / "audit.log"
    for each in (home, modules):
        each.mkdir(parents=True)
    (modules / "sitecustomize.py").write_text(HOOK)
    log.touch()
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "MPLCONFIGDIR", "ORT_DISABLE_TELEMETRY", "CI",
             "COVERAGE_PROCESS_START")  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"HOME": str(home), "PYTHONPATH": str(modules), "AUDIT_LOG": str(log), "OMP_NUM_THREADS": "1"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    ran = subprocess.run(
        [sys.executable, *map(str, argv)], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    files = [str(path) for path in home.rglob("*") if path.is_file()]
    return ran, log.read_text().splitlines() + files
