"""Laws of trainings that begin with weights that know pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from nas import NasError, train
from nas.data.dataset import load_part, read_data
from nas.detector.builder import Detector
from nas.detector.pretrained.load import load_seed
from nas.detector.pretrained.seed import Seed
from nas.space.references import REFERENCES
from nas.space.spec import dump_spec, parse_spec, read_spec, with_classes
from nas.training.beginning import begin_with
from nas.training.loop import LapEnd
from nas.training.loop import train as train_loop
from nas.training.on_disk.checkpoint import load_checkpoint
from nas.training.on_disk.folder import open_run, read_run, read_trainings
from nas.training.recipe import parse_recipe
from nas.training.settings import short_settings
from tests.data.pictures import squares, tiny_detector, write_data

RECIPE = {"batch_size": 4, "optimizer": "adamw", "lr": 0.01, "augment": {"mosaic": 0.0}}


@pytest.fixture(scope="module")
def lite2() -> Seed:
    return load_seed("lite2")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a data set, a staged model and one that no seed fits."""
    label = "0 0.3 0.3 0.2 0.2\n1 0.7 0.7 0.3 0.3\n"
    write_data(
        tmp_path, {part: {"a": label, "b": label} for part in ("train", "val")}, size=(64, 64)
    )
    (tmp_path / "tiny.yaml").write_text(dump_spec(tiny_detector().spec))
    other = with_classes(read_spec(REFERENCES / "yolov5n.yaml"), 2)
    (tmp_path / "other.yaml").write_text(dump_spec(other))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def asked(home: Path, **changes: object) -> train.Arguments:
    arguments = train.Arguments(
        models=(home / "tiny.yaml",),
        data=str(home / "data.yaml"),
        epochs=2,
        image_size=64,
        recipe=str(home / "recipe.yaml"),
        run=str(home / "run"),
    )
    return replace(arguments, **changes)  # type: ignore[arg-type]


def same(one: Detector, two: Detector) -> bool:
    other = two.state_dict()
    return all(torch.equal(value, other[name]) for name, value in one.state_dict().items())


def test_a_beginning_follows_from_its_arguments(lite2: Seed) -> None:
    part, settings = squares(8), short_settings(4)
    begun = []
    for number in (0, 0, 1):
        detector = tiny_detector()
        report = begin_with(lite2, detector, part, settings, seed_number=number)
        assert report.taken
        begun.append(detector)
    assert same(begun[0], begun[1])
    # Another random seed has other batches, so other statistics.
    assert not same(begun[0], begun[2])
    assert begun[0].training == tiny_detector().training


def test_the_starter_is_the_usual_start_and_is_said_in_three_lines(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.run(asked(home, epochs=1))
    err = capsys.readouterr().err
    own = [line for line in err.splitlines() if line.startswith("tiny-s0: ")]
    assert [line.split()[1] for line in own if "anchors" not in line] == ["rows", "cut:", "made"]
    assert "start from starter" in err
    assert read_run(home / "run").pretrained == "starter"
    # --resume goes on with it; another start is refused.
    train.run(train.Arguments(resume=home / "run"))
    with pytest.raises(NasError, match="pretrained: a run goes on with"):
        train.run(asked(home, epochs=1, pretrained="none"))


def test_where_nothing_fits_it_is_said_and_the_training_is_as_without(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = (home / "other.yaml",)
    train.run(asked(home, models=other, epochs=1, recipe="small"))
    assert "other-s0: nothing was taken from starter" in capsys.readouterr().err
    none = asked(home, models=other, epochs=1, pretrained="none", run=str(home / "none"))
    train.run(replace(none, recipe="small"))
    assert "starter" not in capsys.readouterr().err
    one, two = (
        load_checkpoint(home / run / "other-s0" / "best.pt").build() for run in ("run", "none")
    )
    assert same(one, two)


def test_killed_and_resumed_equals_never_stopped(home: Path, lite2: Seed) -> None:
    whole, stopped = home / "whole", home / "stopped"
    train.run(asked(home, run=str(whole), pretrained="lite2"))
    settings = read_run(whole)
    data = read_data(settings.data)
    part, val = load_part(data, "train", 64), load_part(data, "val", 64)
    files = replace(read_trainings(whole)[0], folder=stopped / "tiny-s0")
    with open_run(stopped, settings):
        files.begin()

    def keep_and_die(standing: LapEnd) -> None:
        files.keep(standing)
        raise KeyboardInterrupt

    recipe = parse_recipe(settings.recipe, "test")
    torch.manual_seed(files.seed)
    detector = recipe.build(parse_spec(files.model))
    rows = len(begin_with(lite2, detector, part, recipe, seed_number=files.seed).freezable)
    assert rows > 0
    assert recipe.frozen_stages == 2
    with pytest.raises(KeyboardInterrupt):
        train_loop(
            detector, part, val, recipe, seed=files.seed, on_lap=keep_and_die, whole_rows=rows
        )
    train.run(train.Arguments(resume=stopped))
    one, two = (load_checkpoint(run / "tiny-s0" / "last.pt").build() for run in (whole, stopped))
    assert same(one, two)


def test_a_best_pt_of_ours_gives_neck_and_head_too(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.run(asked(home, epochs=1))
    best = home / "run" / "tiny-s0" / "best.pt"
    capsys.readouterr()
    train.run(asked(home, epochs=1, run=str(home / "second"), pretrained=str(best)))
    rows = len(parse_spec((home / "tiny.yaml").read_text()).rows)
    assert f"tiny-s0: rows 0-{rows - 1} start from {best}" in capsys.readouterr().err
    assert read_run(home / "second").pretrained == str(best.resolve())


def test_a_file_that_fits_no_model_is_refused_before_anything_is_written(home: Path) -> None:
    train.run(asked(home, epochs=1))
    best = home / "run" / "tiny-s0" / "best.pt"
    other = (home / "other.yaml",)
    with pytest.raises(NasError, match="has weights for"):
        train.run(asked(home, models=other, run=str(home / "third"), pretrained=str(best)))
    assert not (home / "third").exists()


def test_a_run_of_the_first_format_goes_on_without_a_seed(home: Path) -> None:
    train.run(asked(home, epochs=1, pretrained="none"))
    path = home / "run" / "settings.yaml"
    document = yaml.safe_load(path.read_text())
    del document["pretrained"]
    path.write_text(yaml.safe_dump(document | {"format": 1}))
    assert read_run(home / "run").pretrained == "none"
    train.run(train.Arguments(resume=home / "run"))
