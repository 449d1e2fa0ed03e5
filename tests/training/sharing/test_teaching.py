"""Laws of teaching shared weights: a step teaches its candidate, and no other."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from nas.data.images import ImageSet
from nas.detector.faces import SupernetError, head_kind
from nas.detector.pretrained.load import load_seed
from nas.detector.supernet import Supernet
from nas.space.choices import Choose
from nas.space.ops import macs, model_graph
from nas.space.search_space import Candidate, SearchSpace, parse_space, read_space
from nas.training.augment import AugmentSettings
from nas.training.losses.loss import LossSettings
from nas.training.progress import Progress, TrainingError
from nas.training.recipe import Recipe
from nas.training.sharing.begin import begin
from nas.training.sharing.kept import check_shared, core_seconds, read_shared, write_shared
from nas.training.sharing.teaching import ROUND, SharedTraining, teach
from tests.data.pictures import squares

load = cache(squares)


def net_of(space: SearchSpace) -> Supernet:
    def build(choose: Choose) -> Candidate:
        return space.build(choose, 2)

    return Supernet(space, build)


def training(space: str = "tiny", pretrained: str = "none", **changes: object) -> SharedTraining:
    recipe = {
        "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0, "batch_size": 4, "epochs": None,
        "steps": 40, "warmup": 0.0, "frozen_stages": 0,
    }  # fmt: skip
    net = net_of(read_space(space))
    settings = Recipe(**{**recipe, **changes})  # type: ignore[arg-type]
    weights = None if pretrained == "none" else load_seed(pretrained)

    def part(image_size: int) -> ImageSet:
        return load(8, image_size)

    beginning = begin(net, weights, part, settings, 0)
    return SharedTraining(net, beginning, part, settings, 0)


def learning(one: SharedTraining) -> torch.Tensor:
    """Which weights (size,) the next step's candidate has."""
    indices = one.supernet.indices(one.candidate(one.step).spec)
    found = torch.zeros(one.supernet.size, dtype=torch.bool)
    for index in indices.values():
        found[index.flatten()] = True
    return found


def test_a_step_changes_its_candidates_weights_alone() -> None:
    one = training()
    one.step = 1  # neither the largest nor the smallest
    own, before = learning(one), one.values.clone()
    assert 0 < int(own.sum()) < one.supernet.size
    one.one_step()
    changed = one.values != before
    assert not bool((changed & ~own).any())
    assert int(changed.sum()) > 0.5 * int(own.sum())
    # The average follows, and is another.
    assert not torch.equal(one.average, one.values)


def test_the_largest_and_the_smallest_come_in_turn() -> None:
    one = training()
    candidates = [one.candidate(number) for number in range(ROUND)]
    assert candidates[0].image_size == 96
    assert candidates[ROUND // 2].image_size == 64
    names = [name for name, options in one.supernet.space.options().items() if len(options) > 1]
    numbers = [name for name in names if not name.endswith((".operator", ".kind"))]
    for place, at in ((0, -1), (ROUND // 2, 0)):
        choices = dict(candidates[place].choices)
        assert all(choices[n] == one.supernet.space.options()[n][at] for n in numbers)
    work = [macs(model_graph(one.spec, one.image_size)) for one in candidates]
    assert len(set(work)) > ROUND // 2


def test_what_came_whole_stays_and_what_was_made_up_learns() -> None:
    one = training(pretrained="starter", frozen_stages=2)
    before = one.values.clone()
    for _ in range(3):
        one.one_step()
    assert 0 < int(one.is_frozen.sum()) < one.supernet.size
    assert torch.equal(one.values[one.is_frozen], before[one.is_frozen])
    held = [n for n, slot in one.supernet.slots.items() if one.is_frozen[slot.start]]
    assert all(name.split(".")[0] in ("stem", "stage1") for name in held)
    # What no weights were read for is never frozen.
    assert not training(frozen_stages=2).is_frozen.any()


def test_channels_begin_with_the_most_important() -> None:
    """A narrow candidate has what a cut from the same weights keeps, first the liveliest."""
    weights = load_seed("starter")
    net = net_of(read_space("tiny"))
    part = load(8, 64)
    values = begin(net, weights, lambda _: part, Recipe(epochs=None, steps=4), 0).values
    gamma = weights.stem.gamma.abs()
    slot = net.slots["stem.Conv.bn.weight"]
    first = values[slot.start : slot.stop].abs()
    assert set(first.tolist()) <= set(gamma.tolist())
    assert len(first) < len(gamma)


def test_heads_are_taught_each_its_own() -> None:
    text = Path("search_spaces/tiny.yaml").read_text()
    space = parse_space(
        text.replace("separable]", "separable], detect: [light, anchors]"), "t", "t"
    )
    net = net_of(space)
    settings = Recipe(epochs=None, steps=8, batch_size=4)
    beginning = begin(net, None, lambda size: load(8, size), settings, 0)
    one = SharedTraining(net, beginning, lambda size: load(8, size), settings, 0)
    seen: set[str] = set()
    last: dict[str, float] = {}
    for _ in range(6):
        kind, before = head_kind(one.candidate(one.step).spec), one.values.clone()
        own = float(one.one_step().sum())
        last[kind] = 0.9 * last.get(kind, own) + 0.1 * own
        assert one.loss == pytest.approx(sum(last.values()) / len(last))
        changed = one.values != before
        if kind not in seen:
            seen.add(kind)
            slots = [s for n, s in net.slots.items() if n.startswith(f"head.{kind}.")]
            assert any(bool(changed[s.start : s.stop].any()) for s in slots)
    assert seen == {"anchors", "light8"}


def test_every_step_has_a_gradient_of_one_length() -> None:
    """Whatever its head's loss is like: one optimiser serves them all."""
    for one in (training(), training(loss=LossSettings(box=50.0, objectness=1000.0))):
        one.one_step()
        assert float(one.gradient.norm()) == pytest.approx(1, abs=1e-4)


def test_it_learns_what_every_candidate_can_use() -> None:
    plain = AugmentSettings(mosaic=0.0, scale=0.0, translate=0.0)
    one = training(steps=48, lr=5e-3, augment=plain, loss=LossSettings(classes=2.0))
    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(progress.loss)

    values = teach(one, keep_every=48, keep=lambda _: None, on_step=note)
    assert torch.equal(values, one.average)
    assert sum(losses[-8:]) < 0.85 * sum(losses[:8])


def test_gone_on_from_a_state_equals_never_stopped() -> None:
    whole, stopped, other = training(), training(), training()
    for _ in range(4):
        whole.one_step()
    for _ in range(2):
        stopped.one_step()
    other.restore(stopped.state())
    for _ in range(2):
        other.one_step()
    assert torch.equal(whole.values, other.values)
    assert torch.equal(whole.average, other.average)
    with pytest.raises(TrainingError, match="41 steps, seed 0"):
        training().restore(training(steps=41).state())
    with pytest.raises(TrainingError, match="KeyError"):
        training().restore({"steps": 40, "seed": 0})


def test_a_loss_that_is_no_number_is_told() -> None:
    one = training(lr=1e30)

    def several() -> None:
        for _ in range(6):
            one.one_step()

    with pytest.raises(TrainingError, match="the loss and its gradient stay finite"):
        several()


def test_a_file_holds_the_weights(tmp_path: Path) -> None:
    net, file = net_of(read_space("tiny")), tmp_path / "a.pt"
    values = torch.rand(net.size)
    write_shared(file, net, values, 12.5)
    check_shared(file, net)
    other, found = read_shared(file)
    assert torch.equal(found, values)
    assert core_seconds(file) == 12.5
    spec = net.space.build(lambda _, options: options[-1], 2).spec
    for name, index in net.indices(spec).items():
        assert torch.equal(other.indices(spec)[name], index)


def test_a_file_of_another_space_is_named_by_what_differs(tmp_path: Path) -> None:
    net, file = net_of(read_space("tiny")), tmp_path / "a.pt"
    write_shared(file, net, net.gathered(), 0.0)
    text = Path("search_spaces/tiny.yaml").read_text()
    for change, to, message in (
        ("width: [16, 24]", "width: [16, 32]", "stage 3"),
        ("neck: {width: [16]", "neck: {width: [24]", "neck"),
    ):
        other = net_of(parse_space(text.replace(change, to), "other", "other"))
        with pytest.raises(SupernetError, match=f"{message}: its weights are those of other"):
            check_shared(file, other)


def test_a_damaged_file_is_told_with_its_remedy(tmp_path: Path) -> None:
    net, file = net_of(read_space("tiny")), tmp_path / "a.pt"
    write_shared(file, net, net.gathered(), 0.0)
    document = torch.load(file, weights_only=True)
    name = next(iter(net.slots))
    weights = document["weights"]
    for wrong, message in (
        ({**weights, name: weights[name][:1]}, "it holds this tensor of shape"),
        ({**weights, name: weights[name] * torch.nan}, "weights are finite numbers"),
        ({n: w for n, w in weights.items() if n != name}, "got none"),
    ):
        torch.save({**document, "weights": wrong}, file)
        with pytest.raises(SupernetError, match=message) as caught:
            read_shared(file)
        assert name in str(caught.value)
        assert "Delete it: the same command teaches the weights again" in str(caught.value)
    for content in (b"", b"no weights", file.read_bytes()[:1000]):
        file.write_bytes(content)
        with pytest.raises(SupernetError, match="has format 1 and is whole"):
            check_shared(file, net)
    torch.save({**document, "format": 9}, file)
    with pytest.raises(SupernetError, match="has format 1 and is whole"):
        read_shared(file)
