"""The course of training: a table and a picture of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from appliance import durable

COLUMNS: Final = ("course", "step", "rate", "loss", "validation_loss", "validation_auc")


def write_curves(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`curves.csv` and `curves.png`, a row and a point for each time that the network was judged."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    durable.write(folder / "curves.csv", text.getvalue().encode())
    if rows:
        durable.write(folder / "curves.png", _picture(rows))


def _picture(rows: Sequence[Mapping[str, Any]]) -> bytes:
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _lines(left, rows, {"loss": "training, all terms", "validation_loss": "validation"})
        left.set_ylabel("cross-entropy")
        left.set_ylim(bottom=0)
        _lines(right, rows, {"validation_auc": "validation"})
        right.set_ylabel("AUC")
        content = io.BytesIO()
        figure.savefig(content, dpi=110, metadata={"Software": None})
    return content.getvalue()


def _lines(axes: Axes, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    places = range(1, len(rows) + 1)
    for name, label in names.items():
        known = [(place, row[name]) for place, row in zip(places, rows, strict=True) if row[name] is not None]
        if known:
            axes.plot(*zip(*known, strict=True), marker=".", label=label)
    courses = [row["course"] for row in rows]
    for place in range(1, len(rows)):
        if courses[place] != courses[place - 1]:
            axes.axvline(place + 0.5, color="0.8", linewidth=1)
    axes.set_xlabel("epoch" if len(set(courses)) == 1 else "epoch; " + ", then ".join(dict.fromkeys(courses)))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    axes.grid(alpha=0.2)
