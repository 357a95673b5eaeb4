"""Names that follow from content: the reading key, and the file name of a finding."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def reading_key(
    *,
    study_uid: str,
    series_uid: str,
    stack: int,
    instances: Iterable[tuple[str, str]],
    model_digest: str,
    imaging_version: int,
    operating_point: float,
) -> str:
    """SHA-256 over everything that decides a reading, in hexadecimal.

    `instances` are (SOP Instance UID, SHA-256 of the pixel bytes and of every tag that the reading uses), in
    any order. The same key means the same reading.
    """
    content = [
        study_uid,
        series_uid,
        stack,
        sorted(instances),
        model_digest,
        imaging_version,
        float(operating_point).hex(),
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def repeated_key(reading_key: str, superseded: str) -> str:
    """The key of a reading that was there before and counts again, in place of the one that it supersedes.

    Slices that were replaced and put back have it, and those that were read once more and came out
    differently.
    """
    return hashlib.sha256(f"{reading_key} {superseded}".encode()).hexdigest()


def file_stem(subject: str) -> str:
    """A series UID as it may stand in a file name (PS3.5 9.1: digits and dots, at most 64 characters).

    Anything else, the path of a file without a series among it, becomes `x-` and 16 digits of its SHA-256.
    """
    if len(subject) <= 64 and _UID.fullmatch(subject):
        return subject
    return "x-" + hashlib.sha256(subject.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def result_name(subject: str, stack: int, revision: int) -> str:
    """The name of a finding's file in the results folder."""
    part = "" if stack == 1 else f".s{stack}"
    return f"{file_stem(subject)}{part}.r{revision}.json"
