"""Takes a network through its courses, and keeps a checkpoint of where it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tools.dataset.volumes import Made
from tools.evaluate.delong import auc_with_interval
from tools.network.csacnet import ResNet
from tools.problem import WrongInput
from tools.train.checkpoint import Progress
from tools.train.courses import COURSES, Course, stacks
from tools.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Watchers:
    """`keep` writes a checkpoint, `due` says whether it is time, `tell` hears of each step and judgement."""

    keep: Callable[[Progress], object]
    due: Callable[[], bool]
    tell: Callable[[str, int, int, Progress], None]


def learn(
    network: ResNet,
    recipe: Recipe,
    train: Sequence[Made],
    validate: Sequence[Made],
    progress: Progress,
    watchers: Watchers,
) -> None:
    """Trains from where `progress` is to the end, in place.

    Raises WrongInput where the loss is no number any more, and where the curriculum finds no lesions.
    """
    courses = COURSES[recipe.method]
    while progress.course < len(courses) and not progress.stopped:
        _take(courses[progress.course](network, train, recipe), recipe, validate, progress, watchers)
    if progress.best_weights is not None:
        network.load_state_dict(progress.best_weights)


def _take(
    course: Course, recipe: Recipe, validate: Sequence[Made], progress: Progress, watchers: Watchers
) -> None:
    network = course.network
    on_gpu = next(network.parameters()).is_cuda
    scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)
    if progress.course_state is not None:
        course.load(progress.course_state)
        # What was begun on a processor has none.
        if on_gpu and progress.course_state["scaler"]:
            scaler.load_state_dict(progress.course_state["scaler"])
    course.begin()
    ended = False
    while not ended:
        course.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.float16, enabled=on_gpu):
            loss = course.loss(progress.step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise WrongInput(
                f"The loss is {value} after {progress.step} steps of {course.name}: lower --rate, and"
                " train in another folder."
            )
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(course.optimizer)
        scaler.update()
        if course.schedule is not None:
            course.schedule.step()
        progress.step += 1
        progress.sum += value
        progress.count += 1
        judged = progress.step % course.epoch == 0
        ended = progress.step == course.steps
        if ended:
            course.end()
        if judged:
            _judge(course, recipe, validate, progress)
        watchers.tell(course.name, progress.step, course.steps, progress)
        ended = ended or progress.stopped
        if ended:
            progress.course, progress.step, progress.course_state = progress.course + 1, 0, None
        if ended or judged or watchers.due():
            if not ended:
                progress.course_state = {**course.state(), "scaler": scaler.state_dict()}
            watchers.keep(progress)


def _judge(course: Course, recipe: Recipe, validate: Sequence[Made], progress: Progress) -> None:
    row: dict[str, Any] = {
        "course": course.name,
        "step": progress.step,
        "rate": course.optimizer.param_groups[0]["lr"],
        "loss": progress.sum / progress.count,
        "validation_loss": None,
        "validation_auc": None,
    }
    progress.sum, progress.count = 0.0, 0
    progress.rows.append(row)
    if not validate:
        return
    found = logits(course.network, validate)
    wanted = torch.tensor([float(one.case.label) for one in validate])
    row["validation_loss"] = float(functional.binary_cross_entropy_with_logits(found, wanted))
    positive = wanted.numpy() > 0
    if positive.any() and not positive.all():
        row["validation_auc"] = auc_with_interval(found.numpy().astype(np.float64), positive)[0]
    if recipe.patience is None:
        return
    if row["validation_loss"] < progress.best:
        progress.best, progress.idle = row["validation_loss"], 0
        progress.best_weights = copy.deepcopy(course.network.state_dict())
    else:
        progress.idle += 1
        progress.stopped = progress.idle >= recipe.patience


@torch.no_grad()
def logits(network: ResNet, cases: Sequence[Made]) -> torch.Tensor:
    """What the network says of whole volumes [n], on the processor."""
    was = network.training
    network.eval()
    found = [network(hu).float().cpu()[:, 0] for hu in stacks(cases, network)]
    network.train(was)
    return torch.cat(found) if found else torch.empty(0)
