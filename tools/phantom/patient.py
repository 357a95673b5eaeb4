"""A patient: what is drawn from the seed before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass

from tools.phantom.anatomy import Anatomy
from tools.phantom.chest import Side
from tools.phantom.lesions import Lesion
from tools.phantom.mimics import Mimics
from tools.phantom.trees import Trees


@dataclass(frozen=True)
class Patient:
    """`lesions` are the disease, `others` lie beside it and are none of it."""

    anatomy: Anatomy
    trees: Trees
    lesions: list[Lesion]
    whiteout: Side | None
    mimics: Mimics
    others: list[Lesion]
