"""Files in lots of a limited size, for a way into a site that takes no larger ones.

`pack` puts them into `lot-01`, `lot-02` …, cuts what is larger than a lot, and writes down the SHA-256 of
each; `unpack` finds them below a folder, however they arrived there, and joins and checks them. Imports the
standard library alone, since a bare machine has nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

CONTENTS: Final = "contents.json"
CONTENTS_BYTES: Final = 100_000
"""Kept free for it in a lot; it takes some 250 bytes a file."""


class LotError(Exception):
    """One sentence: which file is missing or damaged, and what to do."""


@dataclass(frozen=True)
class About:
    """For which Python, such as 3.12, and what of the lock files its own Python has already."""

    python: str
    left_out: list[str]


@dataclass(frozen=True)
class _Packed:
    """A file by its name; `parts` are its pieces in order, by their names."""

    name: str
    sha256: str
    parts: list[str]


def pack(files: Sequence[Path], out: Path, lot_bytes: int | None, about: About) -> int:
    """Write the files below the folder `out`, and what they are and `about` into the first lot.

    Without a size of lots there is one. Returns how many there are.
    """
    room = lot_bytes and lot_bytes - CONTENTS_BYTES
    lots: list[int] = []
    packed = []
    for file in sorted(files, key=lambda one: (-one.stat().st_size, one.name)):
        content = file.read_bytes()
        step = room or len(content) or 1
        pieces = [content[start : start + step] for start in range(0, len(content), step)] or [b""]
        names = [file.name] if len(pieces) == 1 else [f"{file.name}.{n:03}" for n in range(len(pieces))]
        for name, piece in zip(names, pieces, strict=True):
            (_folder(out, _lot_for(len(piece), lots, room)) / name).write_bytes(piece)
        packed.append(_Packed(file.name, hashlib.sha256(content).hexdigest(), names))
    contents = {"about": asdict(about), "files": [asdict(one) for one in packed]}
    (_folder(out, 0) / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n")
    return max(1, len(lots))


def unpack(folder: Path, out: Path) -> About:
    """Put together in `out` what was packed and now lies anywhere below `folder`; returns what it is about.

    Raises LotError when something is missing or is not what was packed.
    """
    found = {path.name: path for path in folder.rglob("*") if path.is_file()}
    if CONTENTS not in found:
        raise LotError(f"{folder.name} has no {CONTENTS}, which is in the first lot: copy all lots into it")
    about, files = _read(found[CONTENTS], folder)
    for one in files:
        for part in one.parts:
            if part not in found:
                raise LotError(f"{folder.name} has no {part}: copy all lots into it")
        content = b"".join(found[part].read_bytes() for part in one.parts)
        if hashlib.sha256(content).hexdigest() != one.sha256:
            raise LotError(f"{one.name} in {folder.name} is damaged: copy it again")
        (out / one.name).write_bytes(content)
    return about


def _read(file: Path, folder: Path) -> tuple[About, list[_Packed]]:
    try:
        contents = json.loads(file.read_text())
        return About(**contents["about"]), [_Packed(**each) for each in contents["files"]]
    except (ValueError, KeyError, TypeError):
        raise LotError(
            f"{CONTENTS} in {folder.name} is cut short, or of another version: copy it again, or make the"
            " folder again with make gpu-wheels"
        ) from None


def _lot_for(size: int, lots: list[int], room: int | None) -> int:
    """The first lot with room for it; `lots` are the bytes in each."""
    for number, used in enumerate(lots):
        if room is None or used + size <= room:
            lots[number] += size
            return number
    lots.append(size)
    return len(lots) - 1


def _folder(out: Path, number: int) -> Path:
    folder = out / f"lot-{number + 1:02}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
