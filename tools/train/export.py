"""From a checkpoint to the ONNX file that the appliance reads, with specification and card in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx

from appliance.imaging import IMAGING_VERSION
from engines.spec import ModelSpec
from tools.network.configuration import CONFIGURATIONS
from tools.network.csacnet import CsacNet, ResNet
from tools.network.export import to_onnx
from tools.train.card import METADATA_KEY, ModelCard
from tools.train.checkpoint import Checkpoint, weights_sha256
from tools.train.recipe import Recipe
from tools.train.result import HALF


def build(recipe: Recipe) -> ResNet:
    kind = CsacNet if recipe.network == "csac-net" else ResNet
    return kind(CONFIGURATIONS[recipe.size])


def to_model(checkpoint: Checkpoint, card: ModelCard | None = None) -> bytes:
    """The network of a checkpoint as an ONNX file, with the checkpoint's own card unless there is another.

    The same checkpoint and card give the same bytes.
    """
    card = card or ModelCard.model_validate(checkpoint.card)
    recipe = Recipe(**checkpoint.about["recipe"])
    network = build(recipe)
    network.load_state_dict(checkpoint.weights)
    finding = checkpoint.finding or {}
    spec = ModelSpec(
        name=card.name or f"{recipe.network}-{recipe.size}",
        version=card.version,
        imaging_version=IMAGING_VERSION,
        input="hu",
        layout="NCDHW",
        grid=CONFIGURATIONS[recipe.size].grid,
        output="probability",
        output_kind="probability",
        heatmap="heatmap",
        operating_point=finding.get("operating_point", HALF),
        accepted=card.accepted,
        population=card.population,
        trained_on=card.trained_on or _counted(checkpoint.about["data"]),
        intended_use=card.intended_use,
        licence=card.licence,
        notice=card.notice,
    )
    model = onnx.load_from_string(to_onnx(network, spec))
    training = {**checkpoint.about, **finding, "weights_sha256": weights_sha256(network)}
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(training, sort_keys=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def training_of(model: Path) -> dict[str, Any]:
    """Recipe, data and results that an ONNX file carries; empty where it was not trained here."""
    properties = {one.key: one.value for one in onnx.load(model).metadata_props}
    found: dict[str, Any] = json.loads(properties.get(METADATA_KEY, "{}"))
    return found


def _counted(data: dict[str, Any]) -> str:
    train = data["train"]
    centres = f" in {len(train['centres'])} centres" if len(train["centres"]) > 1 else ""
    return f"{train['series']} series of {train['patients']} patients{centres}, {train['positive']} positive"
