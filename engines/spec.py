"""ModelSpec: everything the appliance must know of a model, stored in the ONNX metadata.

The appliance has no model constant of its own: another ONNX file with a specification drops in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

METADATA_KEY = "scanlight.spec"
"""The key of the ONNX metadata property that holds the specification as JSON."""

IntendedUse = Literal["placeholder", "demonstration", "research", "clinical"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Grid(_Part):
    """The model grid, in the patient's frame (LPS): [depth, height, width] voxels and their size in mm.

    Depth runs inferior to superior, rows anterior to posterior, columns right to left. The grid is centred
    on the image and, where that would cut lung, on the lung; what lies outside of the scan is `fill_hu`.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    depth: Literal["inferior_to_superior"] = "inferior_to_superior"
    rows: Literal["anterior_to_posterior"] = "anterior_to_posterior"
    columns: Literal["right_to_left"] = "right_to_left"
    centring: Literal["image_then_lung"] = "image_then_lung"
    fill_hu: Literal[-1024] = -1024

    @model_validator(mode="after")
    def _positive(self) -> Grid:
        if min(self.size) < 1 or min(self.spacing_mm) <= 0:
            raise ValueError("size and spacing_mm must be positive")
        return self


class Accepted(_Part):
    """What the model was made for; a series outside of it is not analysed. None means no limit.

    Ranges are closed, kernels are kernel classes; `contrast` False refuses series known to carry contrast.
    """

    slice_spacing_mm: tuple[float, float] = (0.0, 5.0)
    kernels: tuple[Literal["soft", "unknown", "sharp"], ...] = ("soft", "unknown", "sharp")
    contrast: bool = False
    kvp: tuple[float, float] | None = None
    age_years: tuple[float, float] | None = None


class ModelSpec(_Part):
    """The specification of one model. `p >= operating_point` flags."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    imaging_version: int
    input: str
    layout: Literal["NCDHW", "NDHWC"]
    unit: Literal["HU"] = "HU"
    dtype: Literal["float32"] = "float32"
    grid: Grid
    output: str
    output_kind: Literal["probability", "logit"]
    class_index: int = Field(default=0, ge=0)
    heatmap: str | None = None
    operating_point: float = Field(gt=0, lt=1)
    accepted: Accepted = Accepted()
    population: str
    trained_on: str
    intended_use: IntendedUse
    licence: str
    notice: str = ""
    """A sentence that every finding carries, such as "not CSAC-Net"."""


class SpecError(ValueError):
    """A model carries no specification, or one that is not valid; the message is one sentence."""


def to_metadata(spec: ModelSpec) -> dict[str, str]:
    """The ONNX metadata properties (`ModelProto.metadata_props`) that carry a specification."""
    return {METADATA_KEY: spec.model_dump_json()}


def from_metadata(properties: Mapping[str, str]) -> ModelSpec:
    """The specification in a model's ONNX metadata properties.

    Raises SpecError when there is none, or it is not valid, with everything that is wrong with it.
    """
    text = properties.get(METADATA_KEY)
    if text is None:
        raise SpecError(
            f"the model carries no specification: write one into its ONNX metadata under {METADATA_KEY!r}"
        )
    return parse_spec(text)


def parse_spec(text: str | bytes) -> ModelSpec:
    """The specification in a JSON text; raises SpecError with everything that is wrong with it."""
    try:
        return ModelSpec.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(f"the model's specification is not valid: {sentence(error)}") from None


def sentence(error: ValidationError) -> str:
    """All that pydantic found wrong, as one clause each: `grid.size: field required; version: ...`."""
    clauses = []
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in found["loc"])
        what = found["msg"].removeprefix("Value error, ")
        what = what[:1].lower() + what[1:]
        clauses.append(f"{where}: {what}" if where else what)
    return "; ".join(clauses)
