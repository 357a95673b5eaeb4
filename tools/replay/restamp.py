"""A DICOM file under other UIDs: the bytes are patched in place, everything else stays as it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

NAMES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
SHORTEST = 20
"""A shorter UID has not the digits for many new ones of the same length."""


class NotRestamped(Exception):
    """The file cannot be given other UIDs; one sentence."""


@dataclass(frozen=True, slots=True)
class Original:
    """A file that is exported again and again; `places` are (offset, UID) wherever one of its UIDs stands."""

    path: Path
    places: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, path: Path) -> Original:
        """Raises NotRestamped or OSError."""
        try:
            header = pydicom.dcmread(path, specific_tags=list(NAMES), stop_before_pixels=True)
            uids = {str(header[name].value).encode() for name in NAMES}
        except (InvalidDicomError, KeyError) as error:
            raise NotRestamped(f"{path} is no DICOM instance: leave it out.") from error
        if min(map(len, uids)) < SHORTEST:
            raise NotRestamped(f"{path} has a UID of less than {SHORTEST} characters: leave it out.")
        # The longest first: one UID can be the beginning of another.
        pattern = b"|".join(re.escape(uid) for uid in sorted(uids, key=len, reverse=True))
        places = tuple((found.start(), found.group()) for found in re.finditer(pattern, path.read_bytes()))
        if {uid for _, uid in places} != uids:
            raise NotRestamped(f"{path} is deflated: leave it out.")
        return cls(path, places)

    def stamped(self, fresh: Callable[[bytes], bytes]) -> bytes:
        """The file's content with a fresh UID, as long as the old one, for each of its own."""
        content = bytearray(self.path.read_bytes())
        for offset, uid in self.places:
            content[offset : offset + len(uid)] = fresh(uid)
        return bytes(content)


def fresh_uid(old: bytes, salt: str) -> bytes:
    """A UID of the same length that the old one and the salt determine (PS3.5 B.2: below 2.25)."""
    digits = int.from_bytes(hashlib.sha256(salt.encode() + b"/" + old).digest())
    room = len(old) - len("2.25.")
    # A UUID as a number has at most 39 digits; what is left is a component of its own.
    sizes = (room,) if room <= 38 else (37, room - 38)
    parts = []
    for size in sizes:
        digits, part = divmod(digits, 10 ** (size - 1))
        parts.append(f"1{part:0{size - 1}d}" if size > 1 else "1")
    return ".".join(("2.25", *parts)).encode()
