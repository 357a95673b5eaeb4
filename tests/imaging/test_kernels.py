"""Kernels that scanners name."""

from __future__ import annotations

import pytest

from appliance.imaging.kernels import kernel_class, rank


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("B30f", "soft"),
        ("B70s", "sharp"),
        ("I30f", "soft"),
        ("I70f", "sharp"),
        ("D40s", "soft"),
        ("Br40d", "soft"),
        ("Bl57d", "sharp"),
        ("Bv36", "soft"),
        ("Hr60h", "sharp"),
        ("STANDARD", "soft"),
        ("STD+", "soft"),
        ("SOFT", "soft"),
        ("CHST", "soft"),
        ("LUNG", "sharp"),
        ("BONEPLUS", "sharp"),
        ("BONE", "sharp"),
        ("B", "soft"),
        ("UB", "soft"),
        ("L", "sharp"),
        ("YC", "sharp"),
        ("FC03", "soft"),
        ("FC18", "soft"),
        ("FC51", "sharp"),
        ("FC30", "sharp"),
        ("", "unknown"),
        (None, "unknown"),
        ("MYSTERY", "unknown"),
        ("BRAIN", "unknown"),
    ],
)
def test_a_kernel_has_a_class(kernel: str | None, expected: str) -> None:
    assert kernel_class(kernel) == expected


def test_soft_is_read_before_unknown_and_unknown_before_sharp() -> None:
    assert rank("B30f") > rank(None) > rank("B70f")
