"""What a bundle says of its parity: as JSON, and as a page for the physicist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from tools.build_engine.graph import float_activations, key, operators
from tools.build_engine.parity import LARGEST_DELTA, LEAST_CORRELATION, Outcome
from tools.build_engine.plan import Plan, Target
from tools.build_engine.precision import LARGEST
from tools.build_engine.settle import Settled
from tools.build_engine.source import Source
from tools.build_engine.volumes import NEAR_BAND
from tools.page import Section, document, table, tiles
from tools.strict_json import finite

PASSED: Final = (
    "The plan's operators, one by one, were rounded to FP16 on the CPU and gave what the trained model gives:"
    " range and rounding are shown. The order in which a GPU adds up is not: scanlight doctor measures that"
    " on the GPU itself."
)
UNTRAINED: Final = (
    "The model has no trained weights: of its volumes only finite values and the difference in probability"
    " were asked, and nothing here says what FP16 does to a trained one."
)


@dataclass(frozen=True, slots=True)
class Range:
    """The largest |activation| of a tensor over all volumes, and the operator that writes it."""

    tensor: str
    operator: str
    precision: str
    largest: float


@dataclass(frozen=True, slots=True)
class InFp32:
    """An operator that stays in FP32, by the first tensor that it writes."""

    tensor: str
    operator: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    source: Source
    settled: Settled
    target: Target
    plan: Plan

    @property
    def outcome(self) -> Outcome:
        return self.settled.outcome

    def ranges(self) -> list[Range]:
        """The largest first."""
        graph, outcome = self.source.graph, self.outcome
        writers = operators(graph)
        found = [
            Range(
                name,
                writers.get(name, "input"),
                "FP16" if name in outcome.half else "FP32",
                outcome.largest[name],
            )
            for name in float_activations(graph)
        ]
        return sorted(found, key=lambda one: -one.largest)

    def in_fp32(self) -> list[InFp32]:
        """In the order of the network."""
        fp32, writers = self.settled.fp32, operators(self.source.graph)
        names = map(key, self.source.graph.graph.node)
        return [InFp32(name, writers[name], fp32[name]) for name in names if name in fp32]


def as_json(report: Report) -> str:
    spec, outcome = report.source.spec, report.outcome
    content = {
        "schema_version": 1,
        "model": {"name": spec.name, "version": spec.version, "digest": report.source.file.digest},
        "operating_point": spec.operating_point,
        "limits": {
            "largest_delta": LARGEST_DELTA,
            "least_correlation": LEAST_CORRELATION if outcome.trained else None,
            "largest_activation": LARGEST,
        },
        "measured": outcome.info().model_dump(),
        "multiply_adds_in_fp32": report.settled.share,
        "volumes": [{**asdict(row), "delta": row.delta} for row in outcome.rows],
        "ranges": [asdict(one) for one in report.ranges()],
        "in_fp32": [asdict(one) for one in report.in_fp32()],
    }
    # An FP32 tensor may hold infinity.
    return json.dumps(finite(content), indent=1, allow_nan=False) + "\n"


def as_page(report: Report) -> str:
    """One HTML file that needs no other."""
    spec = report.source.spec
    about = (
        f"{spec.name} {spec.version}, {' × '.join(map(str, spec.grid.size))} voxels, SHA-256"
        f" {report.source.file.digest}: the trained model in FP32 against its rounding twin in FP16."
    )
    return document(
        f"FP16 parity of {spec.name}",
        about,
        (tiles(_tiles(report)), *map(table, _sections(report))),
        f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by scanlight build-engine.",
    )


def _tiles(report: Report) -> Iterator[tuple[str, str, str]]:
    info = report.outcome.info()
    yield "Verdict", "passed", "trained weights" if info.trained else "a placeholder, without trained weights"
    low, high = NEAR_BAND
    point = report.source.spec.operating_point
    yield (
        "Volumes",
        str(info.volumes),
        f"{info.near} of them {low:g} to {high:g} from the operating point {point:g}",
    )
    yield "Largest difference", f"{info.largest_delta:.4f}", f"of the probability; at most {LARGEST_DELTA:g}"
    if info.lowest_correlation is not None:
        limit = f"at least {LEAST_CORRELATION:g}" if info.trained else "not asked of a placeholder"
        yield "Lowest correlation", f"{info.lowest_correlation:.5f}", f"of the heatmap; {limit}"
    half = [one for one in report.ranges() if one.precision == "FP16"]
    if half:
        yield "Largest FP16 value", f"{half[0].largest:,.0f}", f"in {half[0].tensor}; at most {LARGEST:,.0f}"
    yield "Work in FP16", f"{100 * (1 - report.settled.share):.1f} %", "of the multiply-adds"


def _sections(report: Report) -> Iterator[Section]:
    outcome, plan = report.outcome, report.plan
    yield Section(
        "volumes",
        "Volumes",
        ("volume", "near", "p in FP32", "p in FP16", "difference", "heatmap correlation"),
        tuple(
            (
                row.volume,
                "near" if row.near else "",
                f"{row.fp32:.5f}",
                f"{row.fp16:.5f}",
                f"{row.delta:.5f}",
                "dark" if row.correlation is None else f"{row.correlation:.6f}",
            )
            for row in outcome.rows
        ),
        (PASSED, *(() if outcome.trained else (UNTRAINED,))),
        texts=2,
    )
    yield Section(
        "fp32",
        "Operators in FP32",
        ("tensor", "operator", "why"),
        tuple((one.tensor, one.operator, one.why) for one in report.in_fp32()),
        ("All others are FP16. Input and outputs are FP32.",),
        texts=3,
    )
    yield Section(
        "ranges",
        "Largest |activation| of each tensor",
        ("tensor", "operator", "precision", "largest", "of what FP16 holds"),
        tuple(
            (
                one.tensor,
                one.operator,
                one.precision,
                f"{one.largest:,.0f}" if one.largest >= 1000 else f"{one.largest:.4g}",
                f"{100 * one.largest / LARGEST:.2f} %",
            )
            for one in report.ranges()
        ),
        (f"Over all volumes, before rounding. FP16 holds up to {LARGEST:,.0f}.",),
        texts=3,
    )
    options = tuple((name.replace("_", " "), str(value)) for name, value in plan.options.items())
    yield Section(
        "plan",
        "The plan",
        ("TensorRT", ""),
        (
            ("flavour", report.target.flavour),
            ("version", plan.tensorrt),
            ("compute capabilities", ", ".join(plan.compute_capabilities)),
            ("built on", plan.device or "no GPU: ahead of time"),
            ("size", f"{len(plan.content) / 1e6:.1f} MB"),
            *options,
        ),
        texts=2,
    )
