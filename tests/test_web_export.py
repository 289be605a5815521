"""The web page as a folder: its files, its graphs, input that cannot be used. No browser."""

import base64
import hashlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path

import export_web
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.common.runs import load_checkpoint, save_checkpoint
from dream.web import runtime, site_folder
from pretrained import PRETRAINED
from small import save_small_world_model

SCRIPT = Path(export_web.__file__)
GAME = GameInfo(("nothing", "jump", "run"), ((), ("space",), ("z", "right")), 30.0)


@pytest.fixture(scope="module")
def fake_package(tmp_path_factory):
    """A package with the names of the runtime's files and other content, and its checksum."""
    path = tmp_path_factory.mktemp("runtime") / runtime.TARBALL
    with tarfile.open(path, "w:gz") as archive:
        for name in (*runtime.SCRIPTS, *runtime.BINARIES, "unwanted.js", "../outside.js"):
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(name)
            archive.addfile(info, BytesIO(name.encode()))
    return path, base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.fixture
def tarball(fake_package, monkeypatch):
    """The fake package, whose checksum counts as the right one."""
    monkeypatch.setattr(runtime, "SHA512", fake_package[1])
    return fake_package[0]


def export(model: Path, folder: Path, tarball: Path, *options: str) -> None:
    args = ["--model-path", model, "--output-dir", folder, "--runtime", tarball, *options]
    export_web.main(export_web.parse_args([*map(str, args)]))


@pytest.fixture(scope="module")
def exported(fake_package, tmp_path_factory):
    """Paths of a small model and of its page. Not to be changed."""
    folder = tmp_path_factory.mktemp("web")
    paths = save_small_world_model(folder, game=GAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "SHA512", fake_package[1])
        export(paths["model_path"], folder / "site", fake_package[0])
    return paths, folder / "site"


# -- the folder ----------------------------------------------------------------------------------------------------


def test_the_folder_holds_the_page_and_nothing_from_elsewhere(exported):
    _, folder = exported
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"index.html", "main.js", "service_worker.js", "site.json", "model/weights.bin", "model/frame.webgpu32.onnx",
            "model/frame.webgpu16.onnx", "model/frame.wasm.onnx", "model/starts.bin", "model/check.bin",
            "runtime/LICENSE.txt"} <= names  # fmt: skip
    assert not {name for name in names if "unwanted" in name or "outside" in name}
    site = json.loads((folder / "site.json").read_text())
    assert set(site["files"]) == names - {"site.json"}
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".js", ".css") and path.parent == folder:
            text = path.read_text()
            assert not re.search(r"(src|href|import|from|fetch\(|url\()\s*=?\s*[\"'`(]?(https?:)?//", text), (
                path
            )
    assert "--frame-width: 48; --frame-height: 32" in (folder / "index.html").read_text()


def test_the_folder_does_not_name_the_machine(exported):
    paths, folder = exported
    places = [str(path).encode() for path in (paths["model_path"].parent, SCRIPT.parent)]
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(place in content for place in places) and b"site-packages" not in content, path


def test_the_game_is_that_of_the_recording(exported):
    site = json.loads((exported[1] / "site.json").read_text())
    assert site["game"] == {"action_names": ["nothing", "jump", "run"], "action_keys": [[], ["space"], ["z", "right"]],
                            "fps": 30.0}  # fmt: skip
    assert (site["context"], site["latent_shape"], site["frame_shape"], site["num_starts"]) == (
        4, [4, 8, 12], [32, 48], 3)  # fmt: skip
    assert not site["has_agent"] and not site["has_list"]


def test_start_states_are_written_as_they_are(exported):
    paths, folder = exported
    starts = np.load(paths["trajectory_path"], allow_pickle=False)
    content = (folder / "model" / "starts.bin").read_bytes()
    latents = np.frombuffer(content, "<f4", starts["frames"].size).reshape(starts["frames"].shape)
    actions = np.frombuffer(content, "<i4", offset=latents.nbytes).reshape(starts["actions"].shape)
    assert np.array_equal(latents, starts["frames"]) and np.array_equal(actions, starts["actions"])


def test_weights_are_stored_once_in_half_precision(exported):
    """The page has each graph three times, twice for WebGPU and once for WebAssembly."""
    paths, folder = exported
    checkpoints = sum(paths[name].stat().st_size for name in ("model_path", "decoder_path"))
    assert (folder / "model" / "weights.bin").stat().st_size < 1.2 * checkpoints


@pytest.mark.slow
def test_the_pretrained_page_is_below_40_mb_and_has_the_agent(tmp_path):
    """With the real runtime, if it is in the cache or can be fetched."""
    from web_helpers import find_runtime

    export(PRETRAINED / "model.pt", tmp_path / "site", find_runtime())
    site = json.loads((tmp_path / "site" / "site.json").read_text())
    assert site["has_agent"] and sum(site["files"].values()) < 40_000_000
    assert (
        "model/frame.webgpu16.onnx" in site["files"]
    )  # its frames are those of the model, else it is left out
    assert "Microsoft" in (tmp_path / "site" / "runtime" / "LICENSE.txt").read_text()


def test_a_page_is_replaced_other_files_are_not(exported, tarball, tmp_path):
    model = exported[0]["model_path"]
    site = tmp_path / "site"
    shutil.copytree(exported[1], site)
    (site / "main.js").write_text("")
    export(model, site, tarball)
    assert (site / "main.js").stat().st_size
    for name in ("CNAME", ".git/config", "model/notes.txt"):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text("mine")
        with pytest.raises(InputError, match=f"also holds {name}.*--output-dir"):
            export(model, site, tarball)
        (site / name).unlink()  # it is still there
    (site / "site.json").unlink()
    with pytest.raises(InputError, match="is not an exported page"):
        export(model, site, tarball)


def test_a_page_is_up_to_date_until_a_file_changes(exported, tmp_path):
    paths, folder = exported
    sources = export_web.source_files(export_web.parse_args(["--model-path", str(paths["model_path"])]))
    assert site_folder.is_up_to_date(folder, sources)
    assert not site_folder.is_up_to_date(folder, {**sources, "model": tmp_path / "missing.pt"})
    assert not site_folder.is_up_to_date(folder, {**sources, "keys": sources["starts"]})
    shutil.copytree(folder, tmp_path / "site")
    (tmp_path / "site" / "main.js").unlink()
    assert not site_folder.is_up_to_date(tmp_path / "site", sources)


def test_a_page_is_not_up_to_date_when_an_agent_is_added(exported, monkeypatch, tmp_path):
    """Also when the pretrained one was not there before: a page without an agent counted as up to date then."""
    args = export_web.parse_args(["--model-path", str(exported[0]["model_path"])])
    with_agent = export_web.source_files(args)
    assert with_agent["agent"] == PRETRAINED / "agent.npz"  # which does not fit this model
    monkeypatch.setattr(export_web, "PRETRAINED", tmp_path)
    without = export_web.source_files(args)
    assert "agent" not in without
    assert site_folder.fingerprint(without) != site_folder.fingerprint(with_agent)


# -- input that cannot be used ---------------------------------------------------------------------------------------


def run_script(*options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--model-path", "missing.pt"],
        ["--model-path", PRETRAINED / "decoder.pt"],
        ["--model-path", PRETRAINED],
        ["--trajectory-path", PRETRAINED / "agent.npz"],
        ["--agent-path", PRETRAINED / "laps.npz"],
        ["--agent-path", PRETRAINED.parent.parent / "ppo" / "pretrained" / "agent.pt"],
        ["--keys", "missing.txt"],
        ["--keys", PRETRAINED],
        ["--runtime", "missing.tgz"],
        ["--runtime", PRETRAINED / "agent.npz"],
        ["--output-dir", PRETRAINED / "model.pt"],
        ["--output-dir", PRETRAINED],
        ["--port", "65536"],
        ["--port", "x"],
    ],
    ids=str,
)
def test_bad_input_gives_one_line_and_an_exit_code(options, tmp_path):
    output = [] if "--output-dir" in options else ["--output-dir", tmp_path / "site"]
    done = run_script(*options, *output)
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode != 0 and len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr and len(lines[0]) < 400
    assert not (tmp_path / "site").exists()


def test_without_npm_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"npm pack onnxruntime-web@.* --runtime"):
        runtime.find_tarball(None)


def test_a_failing_npm_is_reported(monkeypatch, tmp_path):
    """As without a network."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\ncase \"$*\" in *--silent*) exit 1;; esac  # npm then says nothing either\n"
                   "echo 'npm error ENOTFOUND the registry' >&2\nexit 1\n")  # fmt: skip
    npm.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    with pytest.raises(InputError, match=r"ENOTFOUND.*--runtime"):
        runtime.find_tarball(None)
    assert not list((tmp_path / "cache" / "dream-mario-kart").iterdir())


def test_a_model_with_weights_that_are_no_numbers_is_refused(exported, tarball, tmp_path):
    for path in exported[0].values():
        shutil.copy(path, tmp_path)
    checkpoint = load_checkpoint(tmp_path / "model.pt", "dream", "")
    checkpoint["model"]["conv_in.bias"] += float("nan")
    save_checkpoint(checkpoint, tmp_path / "model.pt")
    with pytest.raises(InputError, match="finite"):
        export(tmp_path / "model.pt", tmp_path / "site", tarball)
    assert not (tmp_path / "site").exists() and not list(tmp_path.glob("*.writing"))


# -- the server ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_script_serves_with_the_headers_for_threads_until_ctrl_c(exported):
    """The page is up to date, so that neither PyTorch nor the runtime is needed."""
    paths, folder = exported
    command = [sys.executable, str(SCRIPT), "--model-path", str(paths["model_path"]), "--output-dir", str(folder),
               "--serve", "--port", "18321"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])
        for path, kind in (("/", "text/html"), ("/main.js", "text/javascript"), ("/site.json", "application/json"),
                           ("/runtime/ort.wasm.min.mjs", "text/javascript")):  # fmt: skip
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200 and response.headers["Content-Type"].startswith(kind)
            assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            connection.close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/model/../../encoder.pt")
        assert connection.getresponse().status == 404
        connection.close()
    finally:
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in stderr, stderr
