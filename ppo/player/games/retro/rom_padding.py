"""Finds a known ROM in a file that continues after its end: padding of 00 or FF, a byte too many, a second copy."""

import hashlib
from typing import Container, Optional

EVERY_LENGTH = 65536  # lengths after the last byte that is no padding, all of which are tried
LENGTH_STEP = 512  # step of the longer ones


def known_length(content: bytes, hashes: Container[str]) -> Optional[int]:
    """How many bytes of `content` are a ROM whose SHA-1 (lowercase hexadecimal) is in `hashes`; None if none are.

    The whole content is not tried. A ROM may end in padding bytes itself, so that its length is not known.
    """
    total = len(content)
    for length in (total - total % 1024, total // 2):
        is_rest_known = 2 * length != total or content[:length] == content[length:]
        if 0 < length < total and is_rest_known and hashlib.sha1(content[:length]).hexdigest() in hashes:
            return length
    for padding in (b"\0", b"\xff"):
        start = len(content.rstrip(padding))
        if start == total or start == 0:
            continue
        digest, length = hashlib.sha1(content[:start]), start
        while length < total:
            if digest.hexdigest() in hashes:
                return length
            step = 1 if length < start + EVERY_LENGTH else LENGTH_STEP - length % LENGTH_STEP
            digest.update(padding * min(step, total - length))
            length += step
    return None
