"""Reads and writes .npy arrays and members of .npz files in chunks: memory use does not depend on their size.

All arrays are in C order and have a header of .npy format version 1.0, which NumPy also writes for plain arrays.
"""

import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional, Tuple

import numpy as np

from player.common.errors import InputError

CHUNK_BYTES = 4 * 2**20
ALIGNMENT = (
    64  # bytes; NumPy pads headers to a multiple of 64, so the data of an aligned member is aligned, too
)
MEMBER_DATE = (1980, 1, 1, 0, 0, 0)  # date of all members, so that equal recordings are equal files


def write_npy_header(file: BinaryIO, dtype: np.dtype, shape: Tuple[int, ...]) -> None:
    """Writes the header of a .npy file; the array's bytes in C order must follow."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def read_npy_header(file: BinaryIO) -> Tuple[np.dtype, Tuple[int, ...]]:
    """Reads the header of a .npy file; afterwards `file` is at the first byte of the array's data.

    Raises InputError if the array is not a plain one in C order, ValueError if there is no valid header.
    """
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype.hasobject or dtype.names:
        raise InputError(f"an array holds {dtype}, Fortran order {fortran_order}; wanted plain, C order")
    return dtype, shape


def write_npy(array: np.ndarray, path: Path) -> None:
    """Writes an array as a .npy file and flushes it to the disk.

    Raises OSError with its errno, for example ENOSPC; np.save raises one without it.
    """
    with open(str(path), "wb") as file:
        write_npy_header(file, array.dtype, array.shape)
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def copy_npy_data(
    source: BinaryIO, target: BinaryIO, num_bytes: int, on_bytes: Optional[Callable[[int], Any]] = None
) -> None:
    """Copies the first `num_bytes` of an array's data, without its header, from a .npy file to `target`.
    `on_bytes` is called with the number of new bytes.

    Raises InputError if `source` has fewer bytes.
    """
    read_npy_header(source)
    while num_bytes:
        chunk = source.read(min(CHUNK_BYTES, num_bytes))
        if not chunk:
            raise InputError(
                f"{getattr(source, 'name', 'a part')} is cut short: {num_bytes} bytes are missing"
            )
        target.write(chunk)
        num_bytes -= len(chunk)
        if on_bytes:
            on_bytes(len(chunk))


def aligned_member(file: BinaryIO, key: str) -> zipfile.ZipInfo:
    """The zip entry `key`.npy, to be written at the current position of `file`.

    Its content begins at a multiple of ALIGNMENT, so that it can be memory-mapped: an extra field of the entry's header
    fills the gap.
    """
    info = zipfile.ZipInfo(key + ".npy", MEMBER_DATE)
    # 30: the fixed part of the header; 20: the sizes of a zip64 entry; 4: id and length of the extra field.
    header_bytes = 30 + len(info.filename.encode()) + 20 + 4
    padding = -(file.tell() + header_bytes) % ALIGNMENT
    info.extra = b"\x35\xd9" + padding.to_bytes(2, "little") + bytes(padding)
    return info
