"""The results folder: one file for each revision of every series that ended. Readers key on the name."""

from __future__ import annotations

from pathlib import Path

from appliance import durable

DESTINATION = "results_folder"


def deliver(folder: Path, name: str, content: bytes) -> None:
    """Put a result under its name; once more with the same bytes changes nothing. Raises OSError."""
    durable.write(folder / name, content)
