"""Loads a model file or a bundle, and nothing that was tampered with.

A model is a bare ONNX file, or a bundle: a folder with `manifest.json`, which names every other file and
its SHA-256, and `manifest.sha256`, the SHA-256 of `manifest.json` in the format of sha256sum. What a bundle
holds may be executable, so that every hash is checked before a byte of it is parsed, and what was hashed is
kept in memory: the bytes that run are the bytes that were checked.

A bundle with a TensorRT plan holds the trained model as it was given (what the CPU engine runs, the
reference, and whose digest every finding carries), the mixed-precision ONNX that the plan was built from,
the plan, the known answers, and the parity report.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.protocol import first_line
from engines.spec import ModelSpec, SpecError, from_metadata, sentence
from engines.weights import files_beside

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"

_EMBEDDED = Path(str(importlib.resources.files("engines"))) / "models"


class BundleError(Exception):
    """A model that cannot be loaded or must not be; the message is one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model in memory: `content` is the ONNX file's bytes, `digest` their SHA-256 in hexadecimal."""

    path: Path
    spec: ModelSpec
    digest: str
    content: bytes = field(repr=False)
    bundle: Bundle | None = None
    """What came with it, where it is the model of a bundle with a plan."""

    @property
    def bundle_digest(self) -> str:
        """SHA-256 of the bundle's manifest, "" without a bundle."""
        return self.bundle.digest if self.bundle else ""

    @property
    def known_answers(self) -> bytes | None:
        """What the bundle says is to be answered."""
        return self.bundle.known_answers if self.bundle else None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A TensorRT plan and the answers that are expected of it; `digest` is the manifest's SHA-256."""

    folder: Path
    digest: str
    info: PlanInfo
    plan: bytes = field(repr=False)
    known_answers: bytes = field(repr=False)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Flavour = Literal["rtx", "enterprise"]
"""TensorRT-RTX, for workstation GPUs, built ahead of time; TensorRT, built on the GPU that it runs on."""


VERSION_COMPATIBLE = "version_compatible"
HARDWARE_COMPATIBLE = "hardware_compatible"
"""Options of a plan of TensorRT: other versions of it, or other GPUs from Ampere on, run it too."""


class ParityInfo(_Part):
    """What the gate measured before the plan was built: the model in FP32 against its rounding twin.

    Of `volumes`, `near` had a probability of 0.02 to 0.2 from the operating point. `trained` is False for a
    model without trained weights, of which only finite values and `largest_delta` were asked.
    """

    volumes: int = Field(ge=1)
    near: int = Field(ge=0)
    largest_delta: float = Field(ge=0)
    lowest_correlation: float | None
    trained: bool


class PlanInfo(_Part):
    """The plan of a bundle: its files, and what it was built by and for.

    `compute_capabilities` are the GPUs that it can run on, such as "8.6"; `device` is the name of the one GPU
    that it was built on and `driver` the version of its driver, None where it was built ahead of time.
    """

    file: str
    onnx: str
    known_answers: str
    flavour: Flavour
    tensorrt: str = Field(min_length=1)
    compute_capabilities: tuple[str, ...] = Field(min_length=1)
    device: str | None
    driver: str | None = None
    options: dict[str, str | int | bool]
    parity: ParityInfo


class Manifest(_Part):
    """`manifest.json`: the file that is the model, its specification, and the SHA-256 of each file.

    The names are relative POSIX paths. They must be exactly the files that are in the folder, so that none
    can lead out of it.
    """

    schema_version: Literal[1] = 1
    model: str
    spec: ModelSpec
    plan: PlanInfo | None = None
    files: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _lists_what_it_names(self) -> Manifest:
        named = {"model": self.model}
        if self.plan:
            named |= {"plan": self.plan.file, "mixed-precision model": self.plan.onnx}
            named |= {"file of known answers": self.plan.known_answers}
        for what, name in named.items():
            if name not in self.files:
                raise ValueError(f"the {what} {name!r} is not among the files")
        return self


def embedded_models() -> list[Path]:
    """Every model that ships."""
    return sorted(_EMBEDDED.glob("*.onnx"))


def embedded_model(name: str) -> Path:
    """One of the models that ship."""
    return _EMBEDDED / f"{name}.onnx"


def default_model() -> Path:
    """The model that reads where none is named."""
    return embedded_model("csac-net-edge")


def load_model(path: Path) -> ModelFile:
    """Load an ONNX file or a bundle folder.

    Raises BundleError when there is no such model, the bundle was changed, or the specification is missing
    or not valid.
    """
    try:
        return _load_bundle(path) if path.is_dir() else _load_onnx(path)
    except OSError as error:
        file = Path(os.fsdecode(error.filename)).name if error.filename else path.name
        name = path.name if file == path.name else f"{path.name}/{file}"
        raise BundleError(
            f"model {name} cannot be read ({error.strerror}): name an ONNX file or a bundle folder"
        ) from None


def write_manifest(folder: Path, model: str, spec: ModelSpec, plan: PlanInfo | None = None) -> None:
    """Make a bundle of a folder that holds the file `model` and whatever belongs to it."""
    files = {name: _sha256(file.read_bytes()) for name, file in _regular_files(folder).items()}
    for own in (MANIFEST, MANIFEST_HASH):
        files.pop(own, None)
    text = Manifest(model=model, spec=spec, plan=plan, files=files).model_dump_json(indent=2).encode() + b"\n"
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_text(f"{_sha256(text)}  {MANIFEST}\n", encoding="ascii")


def _load_onnx(path: Path) -> ModelFile:
    content = path.read_bytes()
    return ModelFile(path, _spec_inside(path.name, content), _sha256(content), content)


def _load_bundle(folder: Path) -> ModelFile:
    present = _regular_files(folder)
    for own in (MANIFEST, MANIFEST_HASH):
        if own not in present:
            raise BundleError(f"{folder.name} is no bundle: it has no {own}")
    text = present.pop(MANIFEST).read_bytes()
    if present.pop(MANIFEST_HASH).read_bytes() != f"{_sha256(text)}  {MANIFEST}\n".encode():
        raise _changed(folder, f"{MANIFEST} does not match {MANIFEST_HASH}")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"the manifest of bundle {folder.name} is not valid: {sentence(error)}") from None

    if missing := sorted(manifest.files.keys() - present.keys()):
        raise _changed(folder, f"{missing[0]} is missing")
    if extra := sorted(present.keys() - manifest.files.keys()):
        raise _changed(folder, f"{extra[0]} is not in the manifest")
    plan = manifest.plan
    wanted = {manifest.model} | ({plan.file, plan.known_answers} if plan else set())
    contents: dict[str, bytes] = {}
    for name, digest in manifest.files.items():
        found = present[name].read_bytes()
        if _sha256(found) != digest:
            raise _changed(folder, f"{name} does not match its SHA-256")
        if name in wanted:
            contents[name] = found

    content = contents[manifest.model]
    name = f"{folder.name}/{manifest.model}"
    if _spec_inside(name, content) != manifest.spec:
        raise BundleError(f"the specification in {name} is not the manifest's: build the bundle again")
    bundle = None
    if plan:
        bundle = Bundle(folder, _sha256(text), plan, contents[plan.file], contents[plan.known_answers])
    return ModelFile(folder / manifest.model, manifest.spec, manifest.files[manifest.model], content, bundle)


def _changed(folder: Path, what: str) -> BundleError:
    return BundleError(f"bundle {folder.name} was changed after it was built: {what}; copy it again")


def _regular_files(folder: Path) -> dict[str, Path]:
    """Every file below the folder by its relative POSIX path; anything but files and folders is refused."""
    files: dict[str, Path] = {}
    folders = [folder]
    for current in folders:
        for entry in sorted(current.iterdir()):
            name = entry.relative_to(folder).as_posix()
            mode = entry.lstat().st_mode
            if stat.S_ISDIR(mode):
                folders.append(entry)
            elif stat.S_ISREG(mode):
                files[name] = entry
            else:
                raise BundleError(
                    f"bundle {folder.name} holds {name}, not a regular file: copy it again without links"
                )
    return files


def _spec_inside(name: str, content: bytes) -> ModelSpec:
    _refuse_numbers_beside(name, content)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise BundleError(
            f"{name} is not an ONNX model that ONNX Runtime can load: {first_line(error)}"
        ) from None
    try:
        return from_metadata(session.get_modelmeta().custom_metadata_map)
    except SpecError as error:
        raise BundleError(f"{name}: {error}") from None
    except UnicodeDecodeError:
        raise BundleError(f"{name} carries properties that are no text: export it again") from None


def _refuse_numbers_beside(name: str, content: bytes) -> None:
    """ONNX Runtime would read them from wherever the process happens to be, and no hash would know."""
    try:
        beside = files_beside(onnx.load_from_string(content))
    except DecodeError:
        return  # no model at all, which ONNX Runtime says better
    if beside:
        raise BundleError(
            f"{name} keeps weights in {beside[0] or 'a file that it does not name'}, outside of its hash:"
            " export it as one file, or make a bundle of it with scanlight build-engine"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
