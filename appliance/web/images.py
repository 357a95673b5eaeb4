"""The images of a series, as long as they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.findings.preview import COLOURS, WINDOWS, NoPreview, Preview
from appliance.previews import preview_path
from appliance.web.asked import Refusal, number_in_path, yes_or_no
from appliance.web.journal import LazyJournal
from appliance.web.studies import study_of

_NO_SERIES: Final = "This study has no series with this number."
_NO_IMAGES: Final = "No images are kept of this series."
_NO_SLICE: Final = "This series has no slice with this number."


def routes(journal: LazyJournal, folder: Path) -> list[Route]:
    def preview(request: Request) -> Preview:
        """Of the current revision. Raises Refusal."""
        wanted = number_in_path(request, "series")
        study = study_of(journal, number_in_path(request, "study"))
        if all(one.id != wanted for one in study.series):
            raise Refusal(404, _NO_SERIES)
        record = journal(lambda reader: reader.current_records([wanted])).get(wanted)
        try:
            if record is None or record.reading_key is None:
                raise NoPreview
            return Preview.open(preview_path(folder, record.reading_key))
        except NoPreview:
            raise Refusal(404, _NO_IMAGES) from None

    async def images(request: Request) -> Response:
        """How many slices, from the inferior one on, and where the heatmap is highest."""
        found = preview(request)
        return JSONResponse(
            {
                "slices": found.slices,
                "spacing_mm": found.spacing_mm,
                "heat": found.highest is not None,
                "peak": found.peak,
                "scale": _scale(found.highest),
                "windows": {name: {"centre": centre, "width": w} for name, (centre, w) in WINDOWS.items()},
            }
        )

    async def slice_(request: Request) -> Response:
        """`window`: lung, mediastinum or bone; `heat=yes`: with the heatmap over it."""
        window = request.query_params.get("window", "lung")
        if window not in WINDOWS:
            raise Refusal(400, f"window must be one of {', '.join(WINDOWS)}.")
        heat = yes_or_no(request.query_params, "heat", False)
        found, number = preview(request), number_in_path(request, "slice")
        if number >= found.slices:
            raise Refusal(404, _NO_SLICE)
        try:
            return Response(found.image(number, window, with_heat=heat), media_type="image/png")
        except NoPreview:
            raise Refusal(404, _NO_IMAGES) from None

    series = "/api/studies/{study}/series/{series}"
    return [Route(f"{series}/images", images), Route(f"{series}/slices/{{slice}}.png", slice_)]


def _scale(highest: float | None) -> list[dict[str, Any]] | None:
    """What the colours of the heatmap stand for, from nothing to its highest."""
    if highest is None:
        return None
    return [
        {"value": float(value), "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for value, colour in zip(np.linspace(0, highest, len(COLOURS)), COLOURS, strict=True)
    ]
