"""Writes the appliance's known-answer series: `python -m tools.phantom.known_answers [FOLDER]`.

Two small chests, the same bytes in every run: one with ground glass in the lower left lung, off every plane
of symmetry, so that a mirror, a reversal or an exchange of rows and columns moves it; and one without
disease.
Pixels of 3.2 mm are small enough that the edges of the lungs do not look like ground glass.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.phantom.chest import Chest
from tools.phantom.dicom import write_series
from tools.phantom.export import Export
from tools.phantom.lesions import DiseaseRanges
from tools.phantom.make import make_chest

FOLDER = Path(__file__).resolve().parents[2] / "appliance" / "known_answers"

_LEFT = Chest("covid", seed=280, slice_mm=5.0, matrix=96, fov_mm=307.2, side="left", noise_hu=6.0)
_LEFT_RANGES = DiseaseRanges(
    ground_glass_count=(3, 3),
    ground_glass_mm=(40, 45),
    ground_glass_hu=(-600, -520),
    ground_glass_lower=1.0,
)
_CLEAR = Chest("clear", seed=268, slice_mm=5.0, matrix=96, fov_mm=307.2, noise_hu=6.0)
_EXPORT = Export(syntax="jpeg-lossless")


def write_known_answers(out: Path) -> dict[str, list[Path]]:
    """Writes both series below `out` and returns the files of each by its name."""
    return {
        "covid-left": write_series(make_chest(_LEFT, _LEFT_RANGES), out / "covid-left", _EXPORT),
        "clear": write_series(make_chest(_CLEAR), out / "clear", _EXPORT),
    }


def main() -> None:
    write_known_answers(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)


if __name__ == "__main__":
    main()
