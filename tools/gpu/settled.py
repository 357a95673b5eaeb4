"""What the gate of `scanlight build-engine` leaves in FP32 of the demonstration model where it asks for most.

Finding it takes minutes, which a check of ten has not. `python -m tools.gpu.settled BUNDLE` keeps what the
parity report of a bundle says, for a new model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from tools.build_engine.command import REPORT

FILE: Final = Path(__file__).with_name("settled.json")


def settled(digest: str) -> frozenset[str] | None:
    """The names of the nodes, for the model of this SHA-256; None for any other."""
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    return frozenset(kept["fp32"]) if kept["model"] == digest else None


def keep(bundle: Path) -> None:
    report = json.loads((bundle / REPORT).read_text(encoding="utf-8"))
    names = [one["tensor"] for one in report["in_fp32"]]
    content = {"model": report["model"]["digest"], "fp32": names}
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
