"""Laws of teaching a supernet: a step changes the weights of its candidate, and no other."""

from __future__ import annotations

import pytest
import torch

from nas.detector.builder import build_detector
from nas.detector.supernet import ROLES, Supernet
from nas.space.ops import macs, model_graph
from nas.space.search_space import read_space
from nas.training.pretraining.mixture import outline
from nas.training.pretraining.sets import PictureSet, TaughtSet
from nas.training.pretraining.shared import ROUND, SharedTraining
from nas.training.progress import TrainingError
from nas.training.recipe import Recipe
from tests.data.pictures import squares

SETS: tuple[TaughtSet, ...] = (
    PictureSet(name="a", part=squares(8, seed=0)),
    PictureSet(name="b", part=squares(4, seed=1)),
)


def training(space: str = "tiny", **changes: object) -> SharedTraining:
    recipe = {
        "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0, "batch_size": 4, "epochs": None,
        "steps": 40, "warmup": 0.0, "frozen_stages": 0,
    }  # fmt: skip
    part = outline(SETS, 64)
    net = Supernet(read_space(space), len(part.names))
    settings = Recipe(**{**recipe, **changes})  # type: ignore[arg-type]
    return SharedTraining(net, net.gathered(), SETS, part, settings, 0)


def step(one: SharedTraining) -> None:
    one.one_step(*one.plan.make(one.step))


def touched(one: SharedTraining) -> torch.Tensor:
    """Which weights (size,) the next step's candidate has."""
    detector = build_detector(one.candidate(one.step))
    indices = one.supernet.indices(detector)
    found = torch.zeros(one.supernet.size, dtype=torch.bool)
    for name, _ in detector.named_parameters():
        found[indices[name].flatten()] = True
    return found


def test_a_step_changes_its_candidates_weights_alone() -> None:
    one = training()
    one.step = 1  # neither the largest nor the smallest
    own, before = touched(one), one.values.clone()
    assert 0 < int(own.sum()) < one.supernet.size
    step(one)
    changed = one.values != before
    assert not bool((changed & ~own).any())
    assert int(changed.sum()) > 0.5 * int(own.sum())
    # The average follows, and is another.
    assert not torch.equal(one.average, one.values)


def test_the_largest_and_the_smallest_come_in_turn() -> None:
    one = training(space="fused_mbconv")
    work = [macs(model_graph(one.candidate(number), 64)) for number in range(ROUND)]
    assert work[0] == max(work)
    assert work[ROUND // 2] == min(work)
    assert len(set(work)) == ROUND


def test_frozen_stages_stay_and_early_ones_learn_slowly() -> None:
    one = training(frozen_stages=2, first_row_lr=0.1)
    before = one.values.clone()
    for _ in range(3):
        step(one)
    shares = {group["lr_share"] for group in one.optimizer.param_groups}
    assert len(shares) > 1
    assert max(shares) == 1
    for slot in one.supernet.slots.values():
        if slot.role != ROLES[-1] and slot.depth < 2:
            own = slice(slot.start, slot.stop)
            assert torch.equal(one.values[own], before[own])


def test_it_learns_what_every_candidate_can_use() -> None:
    one = training(steps=48, lr=5e-3)
    losses = [float(one.one_step(*one.plan.make(n)).sum()) for n in range(48)]
    assert sum(losses[-8:]) < 0.85 * sum(losses[:8])
    values = one.finished(2)
    # Every face has statistics of its own.
    variances = [
        values[s.start : s.stop] for n, s in one.supernet.slots.items() if n.endswith("var")
    ]
    assert all(bool((variance != 1).any()) for variance in variances)


def test_gone_on_from_a_state_equals_never_stopped() -> None:
    whole, stopped = training(), training()
    for _ in range(4):
        step(whole)
    for _ in range(2):
        step(stopped)
    other = training()
    other.restore(stopped.state())
    for _ in range(2):
        step(other)
    assert torch.equal(whole.values, other.values)
    assert torch.equal(whole.average, other.average)
    with pytest.raises(TrainingError, match="got 41 steps, seed 0"):
        training().restore(training(steps=41).state())


def test_a_loss_that_is_no_number_is_told() -> None:
    one = training(lr=1e30, clip_norm=0.0)

    def several() -> None:
        for _ in range(6):
            step(one)

    with pytest.raises(TrainingError, match="the loss stays finite"):
        several()
