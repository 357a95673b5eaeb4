"""The card of a model: what is known of it besides its specification, kept in the ONNX file's metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.spec import Accepted, IntendedUse, sentence
from tools.problem import WrongInput

METADATA_KEY: Final = "scanlight.training"
"""The key of the metadata property that holds recipe, data and results as JSON."""


class ModelCard(BaseModel):
    """What a person says of a model; every part may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    version: str = Field(default="1.0.0", min_length=1)
    population: str = "not stated"
    trained_on: str = ""
    """Else the numbers of series and patients."""
    intended_use: IntendedUse = "research"
    licence: str = "not stated"
    notice: str = ""
    accepted: Accepted = Accepted()


def read_card(path: Path) -> ModelCard:
    """Raises WrongInput."""
    try:
        return ModelCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise WrongInput(f"{path} cannot be read: {error.strerror}. Check its name.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(error).replace("\n", " ")
        raise WrongInput(f"{path} is no YAML file ({said}): correct it.") from None
    except ValidationError as error:
        raise WrongInput(f"{path}: {sentence(error)}. Correct it or leave it out.") from None
