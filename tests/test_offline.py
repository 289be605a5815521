"""Nothing reports home: no connection, no file in the home folder, no telemetry module (audit_helpers.py)."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from audit_helpers import ROOT, run_audited
from backend_helpers import RUNTIMES

PLAY = ROOT / "sd" / "play_sd.py"


def play_options(exported, record: Path, backend: str) -> list:
    return [
        PLAY,
        "--headless",
        "--frames",
        4,
        "--backend",
        backend,
        "--model-path",
        exported[1],
        "--record",
        record,
    ]


@pytest.mark.parametrize("backend", [*RUNTIMES, "auto"])
def test_playing_is_offline(exported, tmp_path, backend):
    """OpenVINO posted a client number to an analytics service; ONNX Runtime stored a device number in the home."""
    for name in RUNTIMES if backend == "auto" else [backend]:
        pytest.importorskip(name)
    ran, wrong = run_audited(tmp_path, *play_options(exported, tmp_path / "film.gif", backend))
    assert ran.returncode == 0 and "4 frames" in ran.stdout, ran.stderr
    assert wrong == [] and (tmp_path / "film.gif").stat().st_size > 100


def test_the_audit_notices(tmp_path):
    """What the hook of these tests would see if the module that disables the reports were not imported."""
    code = (
        "import pathlib, socket, subprocess, sys\n"
        "(pathlib.Path.home() / 'cid').write_text('1')\n"
        "try: socket.socket().connect(('127.0.0.1', 1))\nexcept ImportError: pass\n"
        "subprocess.run([sys.executable, '-c', 'import socket; socket.getaddrinfo(\"127.0.0.1\", 1)'])\n"
        "subprocess.run(['true'])"
    )
    ran, wrong = run_audited(tmp_path, "-c", code)
    assert ran.returncode == 0, ran.stderr
    kinds = [line.split()[0] for line in wrong]
    assert kinds.count("socket.getaddrinfo") == 1 and {"open", "socket.connect"} <= set(kinds)
    assert any("true" in line for line in wrong) and wrong[-1].endswith("cid")


def test_openvino_itself_would_report(tmp_path):
    """If this fails, OpenVINO has changed how it reports: look again at dream/common/offline.py."""
    try:
        importlib.metadata.version("openvino-telemetry")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openvino-telemetry is not installed")
    ran, wrong = run_audited(tmp_path, "-c", "import openvino")
    assert ran.returncode == 0 and any("openvino_telemetry" in line for line in wrong), wrong


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.slow
@pytest.mark.parametrize("backend", RUNTIMES)
def test_native_code_opens_no_connection(exported, tmp_path, backend):
    """An audit hook sees Python alone; the kernel sees all."""
    pytest.importorskip(backend)
    options = [str(option) for option in play_options(exported, tmp_path / "film.gif", backend)]
    log = tmp_path / "strace.log"
    command = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", str(log), sys.executable, *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in ran.stderr.lower():
        pytest.skip("strace is not allowed here")
    assert ran.returncode == 0, ran.stderr
    assert not re.search(r"AF_INET", log.read_text())


SCRIPTS = {
    "imports": "import export_sd, evaluate_sd, train_sd, train_autoencoder, benchmark_sd, ablate_sd, play_sd, "
    "compare_with_game, inspect_trajectories, dream.window.window",
    "imports of ppo": "import record_trajectories, train_ppo, evaluate_ppo, import_game, import_video, make_state, "
    "view_mario_kart_env, player.window.window",
    "export": "import export_sd; export_sd.main(export_sd.parse_args(['--model-path', sys.argv[1], '--output-dir', "
    "sys.argv[2] + '/export']))",
    "figures": "import torch, pathlib; from dream.evaluation.figures import plot_psnr_curve; r = torch.rand(2, 5); "
    "plot_psnr_curve(r, r, 30.0, 15.0, pathlib.Path(sys.argv[2]) / 'drift.png')",
    "recording": "import record_trajectories as r; r.main(r.parse_args(['--frames', '512', '--output', "
    "sys.argv[2] + '/r.npz']))",
    "training": "import train_ppo as t; t.main(t.parse_args('--n-envs 2 --n-epochs 1 --n-steps 32 --record-envs 1 "
    "--explore-envs 0 --output-dir'.split() + [sys.argv[2] + '/ppo']))",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_offline(exported, tmp_path, name):
    code = f"import sys; sys.path[:0] = [{str(ROOT / 'sd')!r}, {str(ROOT / 'ppo')!r}]; {SCRIPTS[name]}"
    ran, wrong = run_audited(tmp_path / "run", "-c", code, exported[1], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert wrong == []
