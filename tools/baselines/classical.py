"""Classifiers on lung density that a network must be better than, all of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from engines.spec import Grid
from tools.baselines.features import LungDensity, lung_density
from tools.dataset.volumes import Made
from tools.evaluate.cases import Scores
from tools.problem import WrongInput

Classifier = Literal["logistic", "svm", "forest"]
"""`logistic` sees mean HU and ground glass only, the others all of the density."""

Predict: TypeAlias = Callable[[Sequence[LungDensity]], Scores]
"""The probability of the positive class of each."""

FOLDS: Final = 5
FEWEST: Final = 2
"""Of each class: with less the sigmoid of the SVM has nothing to be fitted on."""

TREES: Final = 500


def measured(made: Made, grid: Grid) -> LungDensity:
    """The density of a case that has a volume, which lies on this grid."""
    hu = made.hu().astype(np.float32)
    # Through what fills the grid above the scan, the windpipe would join the lungs to the air around.
    scanned = (hu > grid.fill_hu).any(axis=(1, 2))
    return lung_density(hu[scanned], grid.spacing_mm)


def fit(kind: Classifier, densities: Sequence[LungDensity], labels: Sequence[int], seed: int) -> Predict:
    """A classifier of these series, 1 for positive; the same seed makes the same.

    Raises WrongInput where a class has fewer than two.
    """
    positive = sum(labels)
    fewest = min(positive, len(labels) - positive)
    if fewest < FEWEST:
        raise WrongInput(
            f"Of the {len(labels)} series to learn from {positive} are positive: a classifier needs at least"
            f" {FEWEST} of each class, so add series."
        )
    model = _model(kind, min(FOLDS, fewest), seed)
    model.fit(_features(kind, densities), np.array(labels))

    def predict(others: Sequence[LungDensity]) -> Scores:
        if not others:
            return np.empty(0)
        scores: Scores = model.predict_proba(_features(kind, others))[:, 1]
        return scores

    return predict


def _model(kind: Classifier, folds: int, seed: int) -> BaseEstimator:
    if kind == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression())
    if kind == "svm":
        # Scikit-learn's own replacement for SVC(probability=True): one SVM of all, and a sigmoid of what
        # those of the folds say of cases that they have not seen.
        return CalibratedClassifierCV(
            make_pipeline(StandardScaler(), SVC()),
            method="sigmoid",
            cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
            n_jobs=1,
            ensemble=False,
        )
    return RandomForestClassifier(TREES, random_state=seed, n_jobs=1)


def _features(kind: Classifier, densities: Sequence[LungDensity]) -> Scores:
    """[series, features]."""
    if kind == "logistic":
        return np.array([(one.mean_hu, one.ground_glass) for one in densities])
    return np.array([(one.mean_hu, one.ground_glass, *one.bands, one.lung_ml) for one in densities])
