"""The folder of an exported web page: what it was made from, and whether it may be replaced. Needs no PyTorch."""

import hashlib
import json
from pathlib import Path

from dream.common.errors import InputError

SITE = "dream web page"  # the "kind" in site.json
SOURCE = Path(__file__).resolve().parent.parent.parent / "web"  # the page's source
MAX_JSON_BYTES = 2**20


def read_site(folder: Path) -> dict | None:
    """site.json of a page's folder; None if it holds none, or a damaged one."""
    path = folder / "site.json"
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        site = json.loads(path.read_text(encoding="utf-8"))
        is_site = isinstance(site, dict) and site.get("kind") == SITE and isinstance(site.get("files"), dict)
        return site if is_site else None
    except (OSError, ValueError, RecursionError):
        return None


def check_is_site_or_new(folder: Path) -> None:
    """Raises InputError if `folder` exists and is no page of this program, or holds other files too: all files in it
    are lost when the page is replaced."""
    site = read_site(folder)
    if folder.exists() and site is None and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} exists and is not an exported page: name another folder with --output-dir"
        )
    own = {"site.json", *(site or {}).get("files", ())}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in own and (path.is_symlink() or not path.is_dir()):
            raise InputError(
                f"{folder} also holds {name}, which is not of the page and would be lost: move it away, or name "
                "another folder with --output-dir"
            )


def fingerprint(sources: dict[str, Path]) -> str:
    """SHA-256 in hex digits of the files that a page is made from, by their purpose, with the page's source and the
    modules that make the graphs."""
    digest = hashlib.sha256()
    dream = Path(__file__).resolve().parent.parent
    modules = [
        *(dream / "web").glob("*.py"),
        *(dream / "models").glob("*.py"),
        dream / "inference" / "export.py",
    ]
    own = sorted(path for path in (*SOURCE.rglob("*"), *modules) if path.is_file())
    for purpose, path in (*sources.items(), *(("", path) for path in own)):
        content = path.read_bytes()
        digest.update(f"{purpose} {len(content)} ".encode() + content)
    return digest.hexdigest()


def is_up_to_date(folder: Path, sources: dict[str, Path]) -> bool:
    """Whether `folder` holds a whole page that was made from these files. Needs no PyTorch."""
    site = read_site(folder)
    if site is None or not all(path.is_file() for path in sources.values()):
        return False
    sizes = {
        name: (folder / name).stat().st_size if (folder / name).is_file() else -1 for name in site["files"]
    }
    return sizes == site["files"] and site.get("source") == fingerprint(sources)
