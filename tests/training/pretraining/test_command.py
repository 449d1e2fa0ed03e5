"""Laws of nas.pretrain: what it leaves, that it goes on where it was stopped, what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import nas.pretrain
from nas import NasError
from nas.data.images import DataError
from nas.detector.pretrained.load import load_seed
from nas.pretrain import Arguments
from nas.training.on_disk.written import FolderError
from nas.training.pretraining.folder import PretrainFolder
from nas.training.pretraining.sets import PretrainError
from nas.training.progress import LapEnd
from nas.training.recipe import RecipeError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set of six pictures with two classes, and its licence."""
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "own" / kind / part).mkdir(parents=True)
        for index in range(6 if part == "train" else 2):
            picture = np.full((40, 40, 3), 40 * index, np.uint8)
            picture[10:30, 10:30] = 200
            cv2.imwrite(str(tmp_path / "own/images" / part / f"{part}{index}.png"), picture)
            row = f"{index % 2} 0.5 0.5 0.5 0.5\n"
            (tmp_path / "own/labels" / part / f"{part}{index}.txt").write_text(row)
    (tmp_path / "own" / "LICENSE").write_text("CC0\n")
    file = tmp_path / "own" / "data.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [a, b]\n")
    return file


@pytest.fixture
def arguments(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arguments:
    """Three steps on that set and the drawings, which are few here."""
    for place in ("nas.training.pretraining.sets.COUNTS", "nas.data.drawings.source.COUNTS"):
        monkeypatch.setattr(place, {"train": 6, "val": 3, "test": 3})
    monkeypatch.setattr("nas.pretrain.cores", lambda: 1)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("batch_size: 2\nlr: 0.001\ncpu_bf16: false\n")
    return Arguments(
        data=(str(data), "drawings"), image_size=64, epochs=1, recipe=recipe,
        run=str(tmp_path / "run"),
    )  # fmt: skip


def test_it_leaves_a_starter_and_says_what_it_is(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nas.pretrain.run(arguments)
    seed = load_seed(tmp_path / "run" / "starter.pt")
    assert seed.starter is not None
    assert seed.starter.names[:3] == ("own: a", "own: b", "drawings: disc")
    text = (tmp_path / "run" / "starter.md").read_text()
    assert "CC0" in text
    assert "6 steps of 2 pictures at 64 px" in text
    assert str(tmp_path) not in text
    said = capsys.readouterr()
    assert "start from lite2" in said.err
    assert "starter.pt" in said.out


def test_the_command_is_told_without_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "nas",
        "--data",
        "/x/own/data.yaml",
        "drawings",
        "--run",
        "/tmp/there",
        "--epochs",
        "2",
    ]
    monkeypatch.setattr("sys.argv", words)
    told = nas.pretrain.command_of(["/x/own/data.yaml", "drawings"])
    assert told.endswith("--data own/data.yaml drawings --run there --epochs 2")


def test_killed_and_resumed_equals_never_killed(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.training.pretraining.folder.KEPT_EVERY_S", 0.0)
    shutil.copy(arguments.recipe or "", tmp_path / "two.yaml")
    longer = Arguments(**{**vars(arguments), "epochs": 2})
    nas.pretrain.run(longer)
    whole = torch.load(tmp_path / "run" / "starter.pt", weights_only=True)["weights"]
    other = Arguments(**{**vars(longer), "run": str(tmp_path / "killed")})
    keep = PretrainFolder.keep

    def kill(self: PretrainFolder, end: LapEnd, names: tuple[str, ...], size: int) -> None:
        keep(self, end, names, size)
        raise KeyboardInterrupt

    monkeypatch.setattr(PretrainFolder, "keep", kill)
    with pytest.raises(KeyboardInterrupt):
        nas.pretrain.run(other)
    assert not (tmp_path / "killed" / "starter.pt").exists()
    monkeypatch.setattr(PretrainFolder, "keep", keep)
    nas.pretrain.run(other)
    resumed = torch.load(tmp_path / "killed" / "starter.pt", weights_only=True)["weights"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    changed = Arguments(**{**vars(other), "seed": 1})
    with pytest.raises(FolderError, match="seed: it goes on with what it began with"):
        nas.pretrain.run(changed)


def test_by_minutes_the_steps_follow_from_the_machines_speed(
    arguments: Arguments, tmp_path: Path
) -> None:
    nas.pretrain.run(Arguments(**{**vars(arguments), "epochs": None, "minutes": 0.05}))
    settings = yaml.safe_load((tmp_path / "run" / "starter.yaml").read_text())
    assert settings["minutes"] == 0.05
    assert settings["steps"] >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": ()}, "--data: at least one set"),
        ({"data": ("drawings", "drawings")}, "every set is given once"),
        ({"epochs": 0}, "--epochs: there is at least 1"),
        ({"minutes": 1.0}, "--minutes: a time above 0 is given, and no --epochs"),
        ({"epochs": None, "minutes": 0.0}, "--minutes: a time above 0"),
        ({"image_size": 100}, "--image-size: it is a multiple of 32"),
        ({"seed": -1}, "--seed"),
        ({"space": "compound"}, "neck and head of a space of stages"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    arguments: Arguments, change: dict[str, object], message: str
) -> None:
    with pytest.raises(NasError, match=message):
        nas.pretrain.run(Arguments(**{**vars(arguments), **change}))
    assert not Path(arguments.run).exists()


def test_sets_that_cannot_teach_are_refused(arguments: Arguments, data: Path) -> None:
    text = data.read_text()
    data.write_text(text.replace("[a, b]", "[a, b, c]"))
    with pytest.raises(PretrainError, match="every class has a box that teaches it; got none of c"):
        nas.pretrain.run(arguments)
    data.write_text(text.replace("train: images/train\n", ""))
    with pytest.raises(DataError, match="train"):
        nas.pretrain.run(arguments)
    assert not Path(arguments.run).exists()


def test_no_room_is_said_before_the_work(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(FolderError, match="MB left on the disk"):
        nas.pretrain.run(arguments)
    assert not Path(arguments.run).exists()


def test_a_folder_of_something_else_stays_as_it_is(arguments: Arguments) -> None:
    folder = Path(arguments.run)
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(FolderError, match="an empty folder"):
        nas.pretrain.run(arguments)
    (folder / "mine.txt").unlink()
    (folder / "starter.yaml").write_text("format: 9\n")
    with pytest.raises(FolderError, match="format 1"):
        nas.pretrain.run(arguments)


def test_a_recipe_that_is_none_is_refused(arguments: Arguments, tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.yaml"
    for text in ("- a\n", "batch_sise: 3\n"):
        recipe.write_text(text)
        with pytest.raises(RecipeError):
            nas.pretrain.run(Arguments(**{**vars(arguments), "recipe": recipe}))
