"""Memory-maps the arrays of an uncompressed .npz file in place, so that only the parts that are used are read."""

import math
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dream.common.errors import InputError

CHUNK_BYTES = 4 * 2**20  # unit of decompression
# Arrays up to this size are compared with their checksums when the file is opened, in under a second. Larger ones are
# the frames of long recordings: reading all of them would take longer than the training step that needs them.
MAX_CHECKED_BYTES = 2**29


def iter_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """The arrays of an .npz archive: name without ".npy", and the zip directory's entry.

    Raises zipfile.BadZipFile if another member is damaged, which may be an array whose name has become illegible.
    """
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            yield info.filename[: -len(".npy")], info
        else:
            compare_checksum(archive, info)


def compare_checksum(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises zipfile.BadZipFile if a member's size is wrong or, up to MAX_CHECKED_BYTES, its checksum."""
    with archive.open(info) as member:  # compares its two names
        if info.header_offset + info.compress_size > os.fstat(archive.fp.fileno()).st_size:
            raise zipfile.BadZipFile(f"{info.filename} is larger than the file")
        while info.file_size <= MAX_CHECKED_BYTES and member.read(CHUNK_BYTES):  # at the end: the checksum
            pass


def mmap_member(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, assumptions: list[str]
) -> np.ndarray | None:
    """Memory-maps one array, read only; a compressed one is first unpacked to a temporary file.

    Returns None if the array holds Python objects: nothing is unpickled. A large temporary file is reported in
    `assumptions`. Raises InputError if the member is encrypted or no array, BadZipFile if the archive is damaged.
    """
    if info.flag_bits & 1:
        raise InputError(f"{path}: {info.filename} is encrypted: save it without a password")
    if info.compress_type == zipfile.ZIP_STORED:
        compare_checksum(archive, info)
        with open(path, "rb") as file:
            file.seek(info.header_offset)
            local_header = file.read(30)  # its name and extra field may be longer than in the zip directory
            if local_header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile(f"no local file header for {info.filename}")
            content = info.header_offset + 30 + sum(struct.unpack("<HH", local_header[26:30]))
            return _mmap_npy(file, content, info, path)
    if info.file_size > CHUNK_BYTES:
        assumptions.append(
            f"{info.filename} is compressed: unpacked to a temporary file of {info.file_size / 1e6:.0f} MB "
            "(saving with np.savez instead of np.savez_compressed avoids this)"
        )
    folder = path.parent if os.access(path.parent, os.W_OK) else None  # /tmp may be in memory
    with tempfile.TemporaryFile(dir=folder) as file, archive.open(info) as member:
        while chunk := member.read(CHUNK_BYTES):
            file.write(chunk)
        file.flush()
        return _mmap_npy(file, 0, info, path)


def _mmap_npy(file: BinaryIO, content: int, info: zipfile.ZipInfo, path: Path) -> np.ndarray | None:
    """Memory-maps the .npy data that begins at byte `content` of the file; None if they are Python objects."""
    file.seek(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read_header(file)
    except ValueError as error:
        raise InputError(
            f"{path}: {info.filename} is not a NumPy array ({error}): record or save it again"
        ) from None
    if dtype.hasobject:
        return None
    data = file.tell()
    num_bytes = math.prod(shape) * dtype.itemsize
    available = min(os.fstat(file.fileno()).st_size, content + info.file_size) - data
    if available < num_bytes:
        raise InputError(
            f"{path}: {info.filename} has {available} bytes of {num_bytes}: copy or record the file again"
        )
    if num_bytes == 0:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", data, shape, "F" if fortran_order else "C")
