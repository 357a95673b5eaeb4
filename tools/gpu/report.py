"""The report of `make gpu-check`: what was done, what was found, and what could not be done.

Imports the standard library alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, Final, Literal

from tools.gpu.machine import Machine
from tools.strict_json import finite

Verdict = Literal["passed", "failed", "not done"]
NOT_DONE: Final = 69
"""The exit code of a program that could not do its part on this machine: EX_UNAVAILABLE of sysexits.h."""

VOLUMES: Final = 2000
PHANTOMS: Final = 100
"""What is to be read for latency, and compared with the CPU: fewer are no result."""


@dataclass(frozen=True)
class Part:
    """One part of the check; `measured` is what `tools.gpu.measure` printed."""

    name: str
    verdict: Verdict
    told: str
    seconds: float = 0.0
    measured: dict[str, Any] = field(default_factory=dict)


def incomplete(machine: Machine, parts: Sequence[Part]) -> str:
    """Which parts were not done, "" for none."""
    names = [one.name for one in parts if one.verdict == "not done"]
    if not names:
        return ""
    where = machine.gpu or "a machine without a GPU"
    return f"This check is not complete: {'; '.join(names)} not done on {where}."


def write(folder: Path, day: str, revision: str, machine: Machine, parts: Sequence[Part]) -> Path:
    """Write `DAY-GPU.md` and `.json` into the folder, and return the former; `DAY-GPU-2` where there is one.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = _free_name(folder, f"{day}-{_slug(machine.gpu) or 'no-gpu'}")
    whole = {
        "day": day,
        "revision": revision,
        "machine": asdict(machine),
        "parts": [asdict(one) for one in parts],
    }
    (folder / f"{name}.json").write_text(
        json.dumps(finite(whole), indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    page = folder / f"{name}.md"
    page.write_text("\n".join(_page(day, revision, machine, parts)) + "\n", encoding="utf-8")
    return page


def _page(day: str, revision: str, machine: Machine, parts: Sequence[Part]) -> Iterator[str]:
    yield f"# GPU check of {day}: {machine.gpu or 'no GPU'}"
    yield ""
    if machine.gpu:
        yield f"`make gpu-check` of revision {revision}."
    else:
        yield f"`make gpu-check` of revision {revision}. **Nothing on this page is a result of a GPU**:"
        yield f"{machine.why_no_gpu}."
    if missing := incomplete(machine, parts):
        yield f"**{missing}**"
    yield ""
    yield "| part | verdict | seconds | what |"
    yield "| --- | --- | --- | --- |"
    for one in parts:
        yield f"| {one.name} | **{one.verdict}** | {one.seconds:.0f} | {_cell(one.told)} |"
    yield ""
    yield "## The machine"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for key, value in asdict(machine).items():
        if value and key != "why_no_gpu":
            yield f"| {key.replace('_', ' ')} | {_cell(str(value))} |"
    for one in parts:
        if one.measured:
            yield ""
            yield from _measured(one)


def _measured(part: Part) -> Iterator[str]:
    found, speed, cpu = part.measured, part.measured["speed"], part.measured["against_cpu"]
    identity = found["identity"]
    yield f"## {part.name}"
    yield ""
    yield f"{found['model']}, {' × '.join(map(str, found['grid']))} voxels, {identity['flavour']} on"
    yield f"{identity['device']} with driver {identity['driver']}."
    if not found["trained"]:
        yield "Its weights are random: its flags and heatmaps mean nothing."
    if not found["settled"]:
        yield "Head and heatmap alone are in FP32: the gate of build-engine may ask for more."
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield f"| build, plan | {found['build_s']:.1f} s, {found['plan_mb']:.1f} MB |"
    yield f"| from the file to the first volume read | {found['opened_after_s']:.1f} s |"
    for name, key in (
        ("median", "p50_ms"),
        ("95 %", "p95_ms"),
        ("99 %", "p99_ms"),
        ("slowest", "slowest_ms"),
    ):
        yield f"| latency, {name} | {speed[key]:.2f} ms |"
    for name, ms in speed["steps_ms"].items():
        yield f"| {name.replace('_', ' ')}, median | {ms:.2f} ms |"
    yield f"| throughput | {speed['volumes_per_s']:.1f} volumes a second, over {speed['volumes']} volumes |"
    yield (
        f"| memory {speed['memory_of']} | {speed['memory_first_mib']:.0f} MiB at first,"
        f" {speed['memory_last_mib']:.0f} MiB at last |"
    )
    delta, alike = cpu["largest_delta"], cpu["lowest_correlation"]
    differs = format(delta, ".5f") if math.isfinite(delta) else "none is known"
    yield f"| against the CPU engine in FP32 | {cpu['volumes']} phantoms |"
    yield f"| largest difference of the probability | {differs} |"
    yield f"| flags changed | {cpu['flags_changed']} |"
    yield f"| lowest correlation of heatmaps | {'none varies' if alike is None else format(alike, '.5f')} |"


def _free_name(folder: Path, name: str) -> str:
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(one for one in names if not (folder / f"{one}.md").exists())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
