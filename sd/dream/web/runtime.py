"""ONNX Runtime Web, which runs the graphs in a browser: fetched from npm, checked, and copied into the page's folder.

The two WebAssembly files are stored compressed: together they would be 41 MB, and few hosts compress them on the way.
"""

import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from dream.common.errors import InputError, shorten

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # base64
TARBALL = f"onnxruntime-web-{VERSION}.tgz"
# The build for the CPU, and the one for WebGPU, whose WebAssembly is twice as large.
SCRIPTS = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
)
BINARIES = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
MAX_MEMBER_BYTES = 64 * 2**20
NPM_SECONDS = 300
LICENSE = """ONNX Runtime Web, unmodified files of the npm package onnxruntime-web

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def cache_dir() -> Path:
    """The folder of the user in which the package is kept: an export without a network works from then on."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return Path(base or Path.home() / ".cache") / "dream-mario-kart"


def find_tarball(given: Path | None) -> Path:
    """The package's file: `given`, or the one in the cache, or fetched with npm into the cache.

    Raises InputError if it is missing, another version or damaged, or cannot be fetched."""
    if given is not None:
        if not given.is_file():
            raise InputError(
                f"no file at {given}: --runtime takes {TARBALL}, which  npm pack {PACKAGE}  writes"
            )
        if not is_intact(given):
            raise InputError(f"{given} is not {TARBALL}, or damaged: get it with  npm pack {PACKAGE}")
        return given
    cached = cache_dir() / TARBALL
    if not (cached.is_file() and is_intact(cached)):
        fetch(cached)
    return cached


def fetch(path: Path) -> None:
    """Writes the package's file to `path` with npm. Raises InputError if that fails."""
    advice = f"run  npm pack {PACKAGE}  where there is a network, and name its file with --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"npm, which fetches {PACKAGE}, is not installed: install Node.js, or {advice}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", PACKAGE, "--loglevel=error", "--pack-destination", folder]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
            problem = shorten(done.stderr, 100) if done.returncode else None
        except (OSError, subprocess.TimeoutExpired) as failure:
            problem = shorten(failure, 100)
        fetched = Path(folder) / TARBALL
        if problem is not None or not fetched.is_file():
            raise InputError(f"npm could not fetch {PACKAGE} ({problem or 'no file'}): {advice}")
        if not is_intact(fetched):
            raise InputError(f"what npm fetched is not the known {PACKAGE}: {advice}")
        os.replace(fetched, path)


def is_intact(path: Path) -> bool:
    """Whether a file is the package, by its SHA-512."""
    with open(path, "rb") as file:
        digest = hashlib.sha512()
        while block := file.read(2**20):
            digest.update(block)
    return base64.b64encode(digest.digest()).decode() == SHA512


def write_runtime(tarball: Path, folder: Path) -> None:
    """Writes the files that the page needs, and the licence, into the new folder `folder`."""
    folder.mkdir()
    wanted = {f"package/dist/{name}": name for name in (*SCRIPTS, *BINARIES)}
    with tarfile.open(tarball, "r:gz") as archive:
        for member in archive:
            name = wanted.pop(member.name, None)
            if name is None:
                continue
            content = archive.extractfile(member).read(MAX_MEMBER_BYTES)
            if name in BINARIES:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)
    if wanted:
        raise InputError(f"{tarball} lacks {', '.join(wanted.values())}: get it with  npm pack {PACKAGE}")
    (folder / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")
