"""ModelSpec: everything the appliance must know of a model, stored in the ONNX metadata.

The appliance has no model constant of its own: another ONNX file with a specification drops in.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
