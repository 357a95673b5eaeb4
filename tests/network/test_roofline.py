"""docs/gpu.md says what is computed, and the computation is that of a roofline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from command import scanlight

pytest.importorskip("torch", reason="needs PyTorch: make training")

from tools.network.configuration import CONFIGURATIONS
from tools.network.roofline import CARDS, Card, estimate_ms
from tools.network.summary import Layer, layers

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


@dataclass
class Work:
    multiply_adds: int
    bytes: int


def test_a_layer_takes_the_longer_of_arithmetic_and_memory() -> None:
    card = Card("one", "8.6", tera_flops=2.0, giga_bytes_s=100)
    assert estimate_ms([Work(10**9, 0)], card) == pytest.approx(1.0)
    assert estimate_ms([Work(0, 10**8)], card) == pytest.approx(1.0)
    assert estimate_ms([Work(10**9, 10**7)], card) == pytest.approx(1.0)
    assert estimate_ms([Work(10**9, 10**7), Work(0, 10**8)], card) == pytest.approx(2.0)


def test_the_page_has_the_cost_of_each_layer_and_the_time_of_each_card() -> None:
    full, edge = layers(CONFIGURATIONS["full"]), layers(CONFIGURATIONS["edge"])
    said = PAGE.read_text().splitlines()
    wanted = [
        *(
            _row(one.name, one.kind, *_cost(one), *_cost(other))
            for one, other in zip(full, edge, strict=True)
        ),
        _row("**all**", "", *_total(full), *_total(edge)),
        *(
            _row(
                card.name,
                card.compute_capability,
                f"{card.tera_flops:g}",
                f"{card.giga_bytes_s:g}",
                f"{estimate_ms(full, card):.2f}",
                f"{estimate_ms(edge, card):.2f}",
            )
            for card in CARDS
        ),
    ]
    assert [row for row in wanted if row not in said] == []


def test_it_is_called_an_estimate_wherever_it_is_told() -> None:
    printed = scanlight("model", "roofline", env={"COLUMNS": "120"}).stdout
    assert "an estimate" in printed
    assert "no bound" in printed
    listed = scanlight("model", "--help", env={"COLUMNS": "200"}).stdout
    assert "Estimate the time of a volume on workstation GPUs." in listed
    assert "least time" not in PAGE.read_text()


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _cost(layer: Layer) -> tuple[str, str, str]:
    return _by(layer.out), f"{layer.multiply_adds / 1e6:,.1f}", f"{layer.bytes / 1e6:.2f}"


def _total(found: list[Layer]) -> tuple[str, str, str]:
    return (
        "",
        f"{sum(one.multiply_adds for one in found) / 1e6:,.1f}",
        f"{sum(one.bytes for one in found) / 1e6:.2f}",
    )


def _by(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))
