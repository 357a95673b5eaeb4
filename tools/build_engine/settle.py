"""Which operators stay in FP32: the head and the heatmap, what FP16 cannot hold, and what parity demands.

More goes to FP32 only as far as the gate asks for it: operators from the volume onwards, or from the head
backwards, whichever costs fewer multiply-adds. Errors come in where HU are scaled and where the maps are
summed up, so that one of the two ends is enough, or none helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from engines.spec import ModelSpec
from tools.build_engine.graph import key, layers, multiply_adds
from tools.build_engine.parity import Outcome, judge, out_of_range
from tools.build_engine.precision import halves, head, never_half
from tools.build_engine.volumes import Progress, Volume

MOST_IN_FP32: Final = 0.2
"""Of the multiply-adds: a plan with more of them in FP32 is no FP16 engine."""

_PROBES: Final = 6
_BLAMED: Final = 3
_ROUNDS: Final = 3
"""Of choosing: what passes with the worst volumes may not with others, which then have their say."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The nodes in FP32 by name, each with the reason, the share of the multiply-adds that they have, and the
    outcome of the gate with them, which says whether it is passed. Where rounding changes too much,
    `to_blame` names the layers that change most of it, the worst first."""

    fp32: dict[str, str]
    share: float
    outcome: Outcome
    to_blame: tuple[str, ...] = ()


def settle(
    model: onnx.ModelProto, spec: ModelSpec, volumes: Sequence[Volume], all_half: bool, progress: Progress
) -> Settled:
    """Choose what stays in FP32, and judge it.

    With `all_half`, for GPUs without FP32 convolutions and matrix products, nothing is chosen.
    """
    fp32 = always_fp32(model, all_half)
    outcome = judge(model, spec, frozenset(fp32), volumes, progress)
    if outcome.beyond and not all_half:
        # Behind what overflows the twin knows nothing more: what the model itself holds tells where to stop.
        own = judge(model, spec, frozenset(key(node) for node in model.graph.node), volumes, progress)
        more = out_of_range(model, own.largest) | fp32
        if share_of(model, more) <= MOST_IN_FP32:
            fp32, outcome = more, judge(model, spec, frozenset(more), volumes, progress)
    base, probes = fp32, list[Volume]()
    for _ in range(_ROUNDS):
        if all_half or outcome.beyond or not outcome.failed:
            break
        probes += _worst(volumes, outcome)
        ends = _ends(model, spec, frozenset(base), probes, progress)
        if not ends:
            break
        fp32 = base | dict.fromkeys(ends, "parity demands it")
        outcome = judge(model, spec, frozenset(fp32), volumes, progress)
    rounding_is_too_much = outcome.failed and not outcome.beyond
    blamed = _to_blame(model, spec, fp32, _worst(volumes, outcome), progress) if rounding_is_too_much else ()
    return Settled(fp32, share_of(model, fp32), outcome, blamed)


def always_fp32(model: onnx.ModelProto, all_half: bool) -> dict[str, str]:
    """The nodes that are in FP32 whatever the gate says, by name, each with the reason."""
    heads = frozenset[str]() if all_half else head(model)
    return never_half(model) | dict.fromkeys(heads, "head and heatmap")


def share_of(model: onnx.ModelProto, nodes: Iterable[str]) -> float:
    """The share of the multiply-adds that these nodes have."""
    costs = multiply_adds(model)
    return sum(costs.get(name, 0) for name in nodes) / max(1, sum(costs.values()))


def _worst(volumes: Sequence[Volume], outcome: Outcome) -> list[Volume]:
    """Those that the gate does not let pass, some of them, the most different first."""
    judged = zip(volumes, outcome.rows, strict=True)
    worst = sorted(judged, key=lambda pair: (not pair[1].problem, -pair[1].excess))
    return [volume for volume, row in worst[:_PROBES] if row.problem]


def _to_blame(
    model: onnx.ModelProto,
    spec: ModelSpec,
    fp32: Iterable[str],
    worst: Sequence[Volume],
    progress: Progress,
) -> tuple[str, ...]:
    """The layers that change the worst volume most where they alone are in FP16, each with how much.

    A layer is a convolution or matrix product with what comes after it, up to the next.
    """
    every, half = frozenset(key(node) for node in model.graph.node), halves(model, frozenset(fp32))
    weighted, names = multiply_adds(model), layers(model)
    groups: list[list[str]] = []
    for node in model.graph.node:
        if key(node) in weighted or not groups:
            groups.append([])
        groups[-1].append(key(node))
    found = []
    for number, group in enumerate(groups, 1):
        if half.intersection(group):
            (row,) = judge(model, spec, every - half.intersection(group), worst[:1], _unheard).rows
            found.append((row.excess, names[group[0]]))
        progress("which layers it is", number, len(groups))
    found.sort(reverse=True)
    return tuple(f"{name} ({100 * excess:.0f} % of what is allowed)" for excess, name in found[:_BLAMED])


def _unheard(what: str, done: int, total: int) -> None:
    """One volume is no progress to speak of."""


def _ends(
    model: onnx.ModelProto,
    spec: ModelSpec,
    fp32: frozenset[str],
    probes: Sequence[Volume],
    progress: Progress,
) -> frozenset[str]:
    """The fewest nodes from either end with which the probes pass; empty where none do."""
    half = halves(model, fp32)
    order = [key(node) for node in model.graph.node if key(node) in half]
    found = []
    for nodes in (order, order[::-1]):

        def passes(count: int, nodes: Sequence[str] = nodes) -> bool:
            return not judge(model, spec, fp32 | frozenset(nodes[:count]), probes, progress).failed

        affordable = sum(
            share_of(model, fp32 | frozenset(nodes[:count])) <= MOST_IN_FP32
            for count in range(1, len(nodes) + 1)
        )
        if affordable and passes(affordable):
            found.append(nodes[: _fewest(affordable, passes)])
    return frozenset(min(found, key=lambda nodes: share_of(model, nodes), default=()))


def _fewest(enough: int, passes: Callable[[int], bool]) -> int:
    """The least count from 1 to `enough` that passes, by halves; `enough` does."""
    low, high = 0, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
