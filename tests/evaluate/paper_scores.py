"""Scores with the counts of Table 3 of Yao et al. at its thresholds, and the readers of the same cases."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

THRESHOLDS = tuple(number / 10 for number in range(1, 10))
TP = (213, 210, 209, 207, 196, 155, 108, 69, 20)
TP_FIRST_NEGATIVE = (81, 80, 79, 79, 73, 57, 42, 28, 9)
TN = (28, 101, 182, 250, 303, 322, 330, 334, 336)
POSITIVES, FIRST_NEGATIVE, NEGATIVES, CAP = 213, 81, 336, 174

READERS = {
    "junior 1": (141, 254),
    "junior 2": (136, 246),
    "senior 1": (165, 273),
    "senior 2": (158, 269),
}


def write_scores(path: Path) -> Path:
    """A CSV of 549 cases. Which of the others are CAP the table does not say: they are mixed evenly."""
    others = [whole - part for whole, part in zip(TP, TP_FIRST_NEGATIVE, strict=True)]
    rest = [POSITIVES - FIRST_NEGATIVE, *others]
    first_negative = _realised([FIRST_NEGATIVE, *TP_FIRST_NEGATIVE])
    negatives = _realised([NEGATIVES, *(NEGATIVES - count for count in TN)])
    rows = [
        *(_row(score, 1, "COVID", "negative") for score in first_negative),
        *(_row(score, 1, "COVID", "positive") for score in _realised(rest)),
    ]
    for number, score in enumerate(negatives):
        caps = (number + 1) * CAP // NEGATIVES - number * CAP // NEGATIVES
        rows.append(_row(score, 0, "CAP" if caps else "NP", ""))
    return write_csv(path, [{"id": f"case-{number}", **row} for number, row in enumerate(rows)])


def write_readers(path: Path) -> Path:
    return write_csv(
        path,
        [
            {"name": name, "tp": tp, "fn": POSITIVES - tp, "tn": tn, "fp": NEGATIVES - tn}
            for name, (tp, tn) in READERS.items()
        ],
    )


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _row(score: float, label: int, group: str, first_rt_pcr: str) -> dict[str, object]:
    return {
        "probability": f"{score:.5f}",
        "label": label,
        "group": group,
        "centre": 4,
        "first_rt_pcr": first_rt_pcr,
    }


def _realised(at_or_above: Sequence[int]) -> Iterator[float]:
    """`at_or_above` counts at 0, 0.1 and so on to 0.9: the scores lie evenly inside each tenth."""
    for tenth, (here, above) in enumerate(pairwise([*at_or_above, 0])):
        for number in range(here - above):
            yield (tenth + (number + 0.5) / (here - above)) / 10
