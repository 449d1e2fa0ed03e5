"""Laws of nas.train and nas.evaluate: what they leave, go on with, and refuse."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
import yaml

from nas import NasError, evaluate, export, train
from nas.space.spec import dump_spec, with_anchors
from nas.training.loop import LapEnd
from nas.training.on_disk.checkpoint import load_checkpoint
from nas.training.on_disk.folder import open_run, read_run, read_trainings
from nas.training.on_disk.written import check_room
from nas.training.recipe import Recipe, RecipeError, parse_recipe, read_recipe
from tests.data.pictures import squares, tiny_spec

RECIPE = {"batch_size": 4, "optimizer": "adamw", "lr": 0.01, "augment": {"mosaic": 0.0}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a model, a data set of eight pictures, and a recipe."""
    for part, seed in (("train", 0), ("val", 1), ("test", 2)):
        pictures = squares(8, seed=seed)
        for index in range(len(pictures)):
            image = tmp_path / "images" / part / f"{index}.png"
            label = tmp_path / "labels" / part / f"{index}.txt"
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(image), pictures.images[index][:, :, ::-1])
            rows = pictures.of(index)
            boxes = pictures.boxes[rows] / 64
            label.write_text(
                "".join(
                    f"{kind} {(b[0] + b[2]) / 2} {(b[1] + b[3]) / 2} {b[2] - b[0]} {b[3] - b[1]}\n"
                    for kind, b in zip(pictures.classes[rows], boxes, strict=True)
                )
            )
    parts = {part: f"images/{part}" for part in ("train", "val", "test")}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(parts | {"names": ["red", "green"]}))
    (tmp_path / "tiny.yaml").write_text(dump_spec(tiny_spec(80)))
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
        pretrained="none",
    )
    return replace(arguments, **changes)  # type: ignore[arg-type]


def test_each_model_and_seed_leaves_its_files(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.run(asked(home, seeds=(0, 1)))
    told = capsys.readouterr()
    names = ["tiny-s0", "tiny-s1"]
    for name in names:
        assert name in told.out
        kept = {path.name for path in (home / "run" / name).iterdir()}
        assert kept == {"best.pt", "last.pt", "metrics.csv", "model.yaml", "training.yaml"}
        rows = (home / "run" / name / "metrics.csv").read_text().splitlines()
        assert rows[0].startswith("step,epoch,lr,box,objectness,classes,map50_95,map50,seconds")
        assert len(rows) == 1 + 2
    assert "test mAP50" in told.out
    assert "2 classes" in told.err

    # The same command finds all of it done, and changes nothing.
    before = (home / "run" / "tiny-s0" / "best.pt").read_bytes()
    train.run(asked(home, seeds=(0, 1)))
    assert capsys.readouterr().err.count("trained already") == 2
    assert (home / "run" / "tiny-s0" / "best.pt").read_bytes() == before

    best = load_checkpoint(home / "run" / "tiny-s0" / "best.pt")
    evaluate.run(
        evaluate.Arguments(
            model=home / "run" / "tiny-s0" / "best.pt",
            data=str(home / "data.yaml"),
            run=str(home / "evaluation"),
            json=True,
        )
    )
    document = json.loads(capsys.readouterr().out)
    assert document["map50_95"] == pytest.approx(best.map50_95, abs=1e-6)
    assert document["map50"] == pytest.approx(best.map50, abs=1e-6)
    assert set(document["per_class"]) == {"red", "green"}
    assert (document["part"], document["images"], document["image_size"]) == ("val", 8, 64)


class KilledError(Exception):
    """What stands for a kill."""


def test_resumed_equals_never_stopped(home: Path) -> None:
    whole, stopped = home / "whole", home / "stopped"
    train.run(asked(home, epochs=3, run=str(whole), pretrained="none"))
    # Begin the other as the command does, and die after the first lap.
    from nas.data.dataset import load_part, read_data
    from nas.space.spec import parse_spec
    from nas.training.loop import train as train_loop

    settings = read_run(whole)
    part = load_part(read_data(settings.data), "train", 64)
    val = load_part(read_data(settings.data), "val", 64)
    files = replace(read_trainings(whole)[0], folder=stopped / "tiny-s0")
    with open_run(stopped, settings):
        files.begin()

    def keep_and_die(standing: LapEnd) -> None:
        files.keep(standing)
        raise KilledError

    recipe = parse_recipe(settings.recipe, "test")
    torch.manual_seed(files.seed)
    detector = recipe.build(parse_spec(files.model))
    with pytest.raises(KilledError):
        train_loop(detector, part, val, recipe, seed=files.seed, on_lap=keep_and_die)

    train.run(train.Arguments(resume=stopped))
    one, two = (load_checkpoint(run / "tiny-s0" / "last.pt") for run in (whole, stopped))
    assert one.weights.keys() == two.weights.keys()
    assert all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    assert (one.map50_95, one.map50) == (two.map50_95, two.map50)
    tables = [(run / "tiny-s0" / "metrics.csv").read_text() for run in (whole, stopped)]
    without_seconds = [[row.rsplit(",", 1)[0] for row in table.split()] for table in tables]
    assert without_seconds[0] == without_seconds[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "models: at least one model YAML"),
        ({"epochs": 0}, "--epochs: there is at least 1 epoch; got 0"),
        (
            {"image_size": 100},
            "width x height (320x192); got 100. The nearest is 96",
        ),
        ({"seeds": (1, 1)}, "--seeds: seeds are different"),
        ({"resume": Path("x")}, "--resume: a run is resumed as it was begun"),
        (
            {"data": "nowhere.yaml"},
            "nowhere.yaml: --data, a data.yaml or the word `shapes`, exists",
        ),
        ({"weights": Path("nowhere.pt")}, "nowhere.pt: a checkpoint is a readable file"),
        ({"weights": Path()}, "a checkpoint is a readable file; got Is a directory"),
        ({"pretrained": "nowhere.pt"}, "nowhere.pt: a file of weights is readable"),
        (
            {"weights": Path("a.pt"), "pretrained": "lite2"},
            "--pretrained: a training starts from a seed or from --weights",
        ),
        ({"recipe": "nowhere.yaml"}, "nowhere.yaml: a recipe exists; got no such file"),
    ],
)
def test_a_wrong_flag_is_one_message_and_nothing_is_written(
    home: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(NasError) as caught:
        train.run(asked(home, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (home / "run").exists()


def test_a_folder_of_other_settings_or_another_model_is_refused(home: Path) -> None:
    train.run(asked(home, epochs=1))
    with pytest.raises(NasError, match=r"recipe.epochs: a run goes on with.*\(1\); got 2"):
        train.run(asked(home))
    (home / "labels" / "train" / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(NasError, match=r"data_digest: a run goes on with"):
        train.run(train.Arguments(resume=home / "run"))
    (home / "other").mkdir()
    (home / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(NasError, match=r"a new run begins in an empty folder"):
        train.run(asked(home, run=str(home / "other")))
    with pytest.raises(NasError, match=r"settings.yaml of a training run exists"):
        train.run(train.Arguments(resume=home / "other"))


def begun(home: Path) -> Path:
    """A run of one epoch, done; its last.pt."""
    train.run(asked(home, epochs=1))
    return home / "run" / "tiny-s0" / "last.pt"


def damaged(path: Path, how: str) -> None:
    """Spoils a checkpoint as disks and people do."""
    content = path.read_bytes()
    document = torch.load(path, weights_only=True)
    middle = len(content) // 2
    if how == "half of the bytes":
        path.write_bytes(content[:middle])
    elif how == "a hole":
        path.write_bytes(content[:middle] + bytes(512) + content[middle + 512 :])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "a text":
        path.write_text("names: [a]\n")
    elif how == "a half dict":
        torch.save({"format": 1, "model": document["model"]}, path)
    elif how == "another's":
        torch.save({"epoch": 3, "state_dict": document["weights"]}, path)
    elif how == "other weights":
        weights = dict(list(document["weights"].items())[:-3])
        torch.save(document | {"weights": weights}, path)
    elif how == "not finite":
        weights = {key: value * float("nan") for key, value in document["weights"].items()}
        torch.save(document | {"weights": weights}, path)
    elif how == "code":
        path.write_bytes(pickle.dumps({"format": 1, "model": Path("x")}))


DAMAGES = (
    "half of the bytes", "a hole", "empty", "a text", "a half dict", "another's", "other weights",
    "not finite", "code",
)  # fmt: skip


def test_a_damaged_checkpoint_is_one_message_wherever_it_is_given(home: Path) -> None:
    last = begun(home)
    whole = last.read_bytes()
    for how in DAMAGES:
        last.write_bytes(whole)
        damaged(last, how)
        doors = [
            lambda: evaluate.run(evaluate.Arguments(model=last, data=str(home / "data.yaml"))),
            lambda: export.run(export.Arguments(model=home / "tiny.yaml", weights=last)),
        ]
        if how != "other weights":  # a start takes those that fit
            doors.append(lambda: train.run(asked(home, run=str(home / "new"), weights=last)))
        for door in doors:
            with pytest.raises(NasError, match=r"last\.pt") as caught:
                door()
            assert "\n" not in str(caught.value), how
            assert caught.value.remedy, how
    assert not (home / "new").exists()


@pytest.mark.parametrize("how", [*DAMAGES, "no training", "half a state"])
def test_a_damaged_last_pt_is_told_and_its_remedy_works(home: Path, how: str) -> None:
    last = begun(home)
    before = (last.parent / "best.pt").read_bytes()
    document = torch.load(last, weights_only=True)
    if how == "no training":
        torch.save(document | {"training": None}, last)
    elif how == "half a state":
        state = {key: document["training"][key] for key in ("steps", "seed", "weights")}
        torch.save(document | {"training": state | {"step": 1}}, last)
    else:
        damaged(last, how)
    if how != "other weights":  # going on takes the loop's own, which are whole
        with pytest.raises(NasError, match=r"last\.pt.*Delete it"):
            train.run(train.Arguments(resume=home / "run"))
        assert (last.parent / "best.pt").read_bytes() == before
    last.unlink()
    train.run(train.Arguments(resume=home / "run"))
    assert load_checkpoint(last).training


def nas_train(home: Path, *flags: str, before: str = "") -> subprocess.Popen[str]:
    """nas.train in a process of its own; `before` is what that does first."""
    code = f"{before}\nimport sys\nfrom nas import train\nfrom nas.terminal import command_line\n"
    code += "command_line(train.Arguments, train.run)"
    arguments = [str(home / "tiny.yaml"), "--data", str(home / "data.yaml"), "--image-size", "64"]
    arguments += ["--recipe", str(home / "recipe.yaml"), "--run", str(home / "run")]
    arguments += ["--pretrained", "none", *flags]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_second_training_in_one_folder_is_refused_and_a_killed_one_does_not_block(
    home: Path,
) -> None:
    first = nas_train(home, "--epochs", "400")
    try:
        deadline = time.monotonic() + 120
        while not (home / "run" / "tiny-s0" / "last.pt").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(NasError, match=r"run: one nas\.train at a time.*name another --run"):
            train.run(asked(home, epochs=400))
    finally:
        first.kill()
        first.communicate()
    with open_run(home / "run", read_run(home / "run")):
        pass


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_last_good_files(home: Path) -> None:
    """The size of a file is limited where a full disk would end it: between best.pt and last.pt."""
    last = begun(home)
    sizes = [(last.parent / name).stat().st_size for name in ("best.pt", "last.pt")]
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({sum(sizes) // 2},) * 2)"
    shutil.rmtree(home / "run")
    process = nas_train(home, "--epochs", "1", before=limit)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 2, told
    assert "Traceback" not in told
    assert "last.pt: the files of a run can be written" in told
    assert "the same command then goes on" in told
    kept = {path.name for path in last.parent.iterdir()}
    assert kept == {"best.pt", "metrics.csv", "model.yaml", "training.yaml"}
    train.run(asked(home, epochs=1))
    assert load_checkpoint(last).training


def test_a_folder_that_cannot_be_a_run_is_told_at_the_start(home: Path) -> None:
    (home / "file").write_text("mine")
    for name in ("file", "file/below", "x" * 300):
        with pytest.raises(NasError, match=re.escape(name)) as caught:
            train.run(asked(home, run=str(home / name)))
        assert "--run" in caught.value.remedy
    assert (home / "file").read_text() == "mine"
    with pytest.raises(NasError, match=r"need 1000000000000\.0 MB.*another disk"):
        check_room(home / "not" / "yet", 10**18)


@pytest.mark.parametrize("flaw", ["unlabelled", "unreadable", "absent", "wrong"])
def test_a_test_part_that_cannot_grade_is_told_before_the_training(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    flaw: str,
) -> None:
    images, labels = home / "images" / "test", home / "labels" / "test"
    if flaw == "unlabelled":
        shutil.rmtree(labels)
    elif flaw == "unreadable":
        for image in images.iterdir():
            image.write_bytes(b"no image")
    elif flaw == "absent":
        shutil.rmtree(images)
    else:
        (labels / "0.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    train.run(asked(home, epochs=1))
    told = capsys.readouterr()
    said = caplog.text + told.err
    assert "going on without the test part" in said
    if "going on" in told.err:
        assert told.err.index("going on") < told.err.index("epoch 1.0")
    assert "val mAP50" in told.out
    assert "test mAP50" not in told.out
    train.run(train.Arguments(resume=home / "run"))
    with pytest.raises(NasError, match="test"):
        evaluate.run(
            evaluate.Arguments(
                model=home / "run/tiny-s0/best.pt", data=str(home / "data.yaml"), part="test"
            )
        )


def test_what_cannot_be_trained_is_told_before_anything_is_written(home: Path) -> None:
    (home / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"batch_size": 1}))
    with pytest.raises(NasError, match="Train at 64 px or more"):
        train.run(asked(home, image_size=32))
    # A training that grows is smallest at first.
    grown = {"batch_size": 1, "growth": {"stages": 2, "first_size": 0.5}}
    (home / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | grown))
    with pytest.raises(NasError, match="last map at 32 px is a single cell"):
        train.run(asked(home, image_size=64))
    (home / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    best = begun(home).with_name("best.pt")
    document = torch.load(best, weights_only=True)
    torch.save(document | {"weights": {"x": torch.zeros(3)}}, home / "alien.pt")
    with pytest.raises(NasError, match=r"--weights: at least one of its weights"):
        train.run(asked(home, run=str(home / "new"), weights=home / "alien.pt"))
    assert not (home / "new").exists()


def test_poor_anchors_are_fitted_to_the_data_and_it_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = tuple(tuple(100.0 * value for value in level) for level in tiny_spec().anchors)
    (home / "tiny.yaml").write_text(dump_spec(with_anchors(tiny_spec(), huge)))
    train.run(asked(home, epochs=1))
    assert "anchors fitted to the data (recall 0.0% -> 100.0%)" in capsys.readouterr().err
    best = load_checkpoint(home / "run" / "tiny-s0" / "best.pt").build()
    assert float(best.head.anchors.max()) < 64


def test_a_training_may_start_from_weights(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.run(asked(home, epochs=1))
    best = home / "run" / "tiny-s0" / "best.pt"
    capsys.readouterr()
    train.run(asked(home, epochs=1, run=str(home / "second"), weights=best))
    err = capsys.readouterr().err
    total = len(load_checkpoint(best).weights)
    assert f"{total - 1} of {total} tensors start from the given weights" in err


def test_evaluating_on_other_classes_is_refused(home: Path) -> None:
    train.run(asked(home, epochs=1))
    best = home / "run" / "tiny-s0" / "best.pt"
    with pytest.raises(NasError, match="taught the classes of shapes"):
        evaluate.run(evaluate.Arguments(model=best))
    with pytest.raises(NasError, match="--image-size"):
        evaluate.run(evaluate.Arguments(model=best, data=str(home / "data.yaml"), image_size=(70,)))


def test_frozen_stages_of_a_random_start_are_refused(home: Path) -> None:
    (home / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"frozen_stages": 1}))
    with pytest.raises(
        NasError, match=r"frozen_stages: frozen stages have weights.*Give --pretrained or"
    ):
        train.run(asked(home, pretrained="none"))
    assert not (home / "run").exists()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"learning_rate": 1}, "the unknown key `learning_rate`"),
        ({"growth": {"sizes": 1}}, "the unknown key `sizes`"),
        ({"growth": {"stages": 0}}, "growth has at least 1 stage"),
        ({"assignment": "simota"}, "assignment: Input should be 'yolov5' or 'aligned'"),
        ({"loss": {"boxes": 1}}, "the unknown key `boxes`"),
        ({"augment": {"mosaic": 3}}, "a share lies in 0..1; got 3"),
        ({"lr": "fast"}, "lr: Input should be a valid number"),
        ({"optimizer": "adam"}, "optimizer: Input should be 'sgd' or 'adamw'"),
        ({"steps": 10}, "give either epochs or steps"),
    ],
)
def test_a_wrong_recipe_is_one_message(document: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(document, "recipe.yaml")
    assert message in str(caught.value)


def test_a_recipe_states_its_length_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: 30\n")
    assert (read_recipe(path).steps, read_recipe(path).epochs) == (30, None)
    assert (read_recipe(path, epochs=7).steps, read_recipe(path, epochs=7).epochs) == (None, 7)
    path.write_text("")
    assert read_recipe(path) == read_recipe(None)
    assert read_recipe(None).epochs == 100


def test_a_recipe_has_a_name_and_fits_its_start(tmp_path: Path) -> None:
    scratch, taught = read_recipe(None), read_recipe(None, knows_pictures=True)
    assert scratch == read_recipe("yolov5") == Recipe()
    assert (taught.optimizer, taught.lr, taught.batch_size) == ("adamw", 0.004, 8)
    assert (taught.frozen_stages, taught.growth.stages) == (2, 3)
    assert taught == read_recipe("small", knows_pictures=True)
    # What knows nothing is not frozen, whatever the recipe.
    assert read_recipe("small") == replace(taught, frozen_stages=0)
    # A file says what differs from the recipe that its start would have.
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 0.002\n")
    assert read_recipe(path, knows_pictures=True) == replace(taught, lr=0.002)
    assert read_recipe(path) == replace(scratch, lr=0.002)
    with pytest.raises(RecipeError, match="There are: small, yolov5"):
        read_recipe("smal")
