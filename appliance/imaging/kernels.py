"""Classes of reconstruction kernels, from the data file beside this module."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import yaml

KernelClass = Literal["soft", "unknown", "sharp"]

_RANKS: Final[dict[KernelClass, int]] = {"sharp": 0, "unknown": 1, "soft": 2}


@cache
def kernel_class(kernel: str | None) -> KernelClass:
    """The class of a ConvolutionKernel (0018,1210); `unknown` where it is absent or in no list."""
    rules = _rules()
    for pattern, its_class in rules["patterns"]:
        match = pattern.fullmatch((kernel or "").strip())
        if match is None:
            continue
        if its_class == "by_number":
            return "sharp" if int(match["n"]) >= rules["sharp_from"] else "soft"
        known: KernelClass = its_class
        return known
    return "unknown"


def rank(kernel: str | None) -> int:
    """Which of a study's readings counts: the higher. Sharp is below unknown, unknown below soft."""
    return rank_of(kernel_class(kernel))


def rank_of(its_class: str | None) -> int:
    """The rank of a class as it is kept; `unknown` where none is."""
    return next((rank for known, rank in _RANKS.items() if known == its_class), _RANKS["unknown"])


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("kernels.yaml").read_text("utf-8"))
    rules["patterns"] = [
        (re.compile(rule["name"], re.IGNORECASE), rule["class"]) for rule in rules["patterns"]
    ]
    return rules
