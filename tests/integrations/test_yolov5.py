"""Laws of nas.integrations.yolov5, on a stand-in checkout."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from nas import NasError
from nas.deploy.weights import random_detector
from nas.integrations.pickles import PickleError, Shell, read_pickle
from nas.integrations.yolov5_weights import read_yolov5
from nas.space.spec import dump_spec, with_anchors
from nas.training.on_disk.checkpoint import load_checkpoint, make_checkpoint, save_checkpoint
from tests.deploy.detectors import candidate, reference_path, small
from tests.integrations.yolov5_checkout import write_checkout

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a stand-in checkout and a model YAML."""
    return furnish(tmp_path)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder after a training there (not to be changed)."""
    folder = furnish(tmp_path_factory.mktemp("taught"))
    done = trained(folder, "--steps", "3")
    (folder / "train.out").write_text(done.stdout)
    (folder / "train.err").write_text(done.stderr)
    return folder


def furnish(folder: Path) -> Path:
    write_checkout(folder / "yolov5")
    (folder / "model.yaml").write_text(dump_spec(small().spec))
    return folder


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m nas.integrations.yolov5` in that folder."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'x'; import runpy; "
    code += "runpy.run_module('nas.integrations.yolov5', run_name='__main__', alter_sys=True)"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def trained(home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    done = command(home, "yolov5/train.py", "--cfg", "model.yaml", *more)
    assert done.returncode == 0, done.stderr
    return done


def detected(home: Path, weights: str) -> tuple[str, torch.Tensor]:
    done = command(home, "yolov5/detect.py", weights)
    assert done.returncode == 0, done.stderr
    return done.stdout, torch.load(home / "boxes.pt")


def test_their_script_runs_with_its_own_arguments_and_our_rows(taught: Path) -> None:
    told = (taught / "train.out").read_text()
    assert "'--steps', '3'" in told
    assert f"first {(taught / 'yolov5').resolve()}" in told
    assert "rows, read and built by nas" in (taught / "train.err").read_text()
    losses = [float(word) for word in told.split("loss ")[1].split()]
    assert losses[-1] < losses[0]


def test_weights_of_theirs_give_the_same_boxes_here(taught: Path) -> None:
    told, theirs = detected(taught, "best.pt")
    assert "norms 0 close True" in told
    assert "class 1" in told
    assert theirs.shape == (1, 3 * (64 + 16 + 4), 7)
    done = command(taught, "import", "best.pt", "ours.pt")
    assert done.returncode == 0, done.stderr
    ours = load_checkpoint(taught / "ours.pt")
    assert ours.names == ("class 0", "class 1")
    assert ours.image_size == 96
    assert (taught / "ours.yaml").read_text() == ours.model
    with torch.no_grad():
        boxes = ours.build()(torch.full((1, 3, 64, 64), 0.5))
    assert torch.allclose(boxes, theirs, rtol=1e-5, atol=1e-4)


def test_weights_of_ours_give_the_same_boxes_there_and_come_back_equal(home: Path) -> None:
    detector = candidate("fused_mbconv", 3, head_detect="anchors")
    detector = random_detector(
        with_anchors(detector.spec, ((5.5, 7, 9, 11), (13, 17, 19, 23.25), (29, 31, 37, 41))),
        96,
    )
    names = ("a", "b", "c")
    save_checkpoint(home / "ours.pt", make_checkpoint(detector, names, 96))
    done = command(home, "export", "yolov5", "ours.pt", "theirs.pt")
    assert done.returncode == 0, done.stderr
    told, boxes = detected(home, "theirs.pt")
    assert str(dict(enumerate(names))) in told
    with torch.no_grad():
        expected = detector(torch.full((1, 3, 64, 64), 0.5))
    assert torch.allclose(boxes, expected, rtol=1e-5, atol=1e-4)

    back = read_yolov5(home / "theirs.pt")
    assert back.names == names
    assert back.model == dump_spec(detector.spec)
    state = detector.state_dict()
    assert state.keys() == back.weights.keys()
    assert all(torch.equal(value, back.weights[name]) for name, value in state.items())

    (home / "model.yaml").write_text(dump_spec(detector.spec))
    count = f"transferred {len(state)} "
    assert count in trained(home, "--weights", "theirs.pt", "--nc", "3").stdout


def test_a_count_of_anchors_and_other_classes_are_theirs_to_set(home: Path) -> None:
    trained(home, "--nc", "5", "--anchors", "4")
    found = read_yolov5(home / "best.pt")
    head = found.build().head
    assert (head.num_classes, head.num_anchors) == (5, 4)


def test_models_with_rows_of_theirs_alone_are_left_to_their_parser(home: Path) -> None:
    rows = "nc: 2\nbackbone: [[-1, 1, Plain, [8]]]\nhead: [[-1, 1, Plain, [8]]]\n"
    (home / "model.yaml").write_text(rows)
    done = trained(home)
    assert "built by nas" not in done.stderr


class Bomb:
    """A pickle that makes a folder when it is loaded as pickles usually are."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def test_reading_a_checkpoint_runs_nothing_of_it(home: Path) -> None:
    content = {"model": Bomb(home / "ran"), "ema": None}
    torch.save(content, home / "bomb.pt")
    with pytest.raises(PickleError, match="a checkpoint of YOLOv5 holds"):
        read_yolov5(home / "bomb.pt")
    assert isinstance(read_pickle(home / "bomb.pt")["model"], Shell)
    assert not (home / "ran").exists()
    torch.load(home / "bomb.pt", weights_only=False)
    assert (home / "ran").exists()  # else this test could not fail


def zipped(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)


def test_files_that_are_no_checkpoints_of_theirs_are_refused(home: Path) -> None:
    (home / "text.pt").write_text("no pickle")
    zipped(home / "zip.pt", "archive/data.txt", b"")
    zipped(home / "script.pt", "archive/constants.pkl", b"")
    legacy = io.BytesIO()
    pickle.dump({"model": 1}, legacy)
    (home / "legacy.pt").write_bytes(legacy.getvalue())
    torch.save([1, 2], home / "list.pt")
    for name in ("text", "zip", "script", "legacy", "list", "absent"):
        with pytest.raises(PickleError, match=rf"{name}\.pt: the file is a model as torch"):
            read_pickle(home / f"{name}.pt")
    save_checkpoint(home / "ours.pt", make_checkpoint(small(), ("a",) * 80, 96))
    with pytest.raises(PickleError, match="a checkpoint of YOLOv5 holds"):
        read_yolov5(home / "ours.pt")


def test_weights_that_are_not_the_yamls_are_refused(taught: Path, home: Path) -> None:
    shutil.copy(taught / "best.pt", home)
    code = (
        "import torch, sys; sys.path[:0] = ['yolov5', sys.argv[1]];"
        "c = torch.load('best.pt', weights_only=False);"
        "c['model'].model[0] = torch.nn.Conv2d(3, 8, 3); torch.save(c, 'best.pt')"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT)], cwd=home, check=True)
    with pytest.raises(NasError, match=r"model\.0\..* tensors differ"):
        read_yolov5(home / "best.pt")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no.py"], "the script exists"),
        (["model.yaml"], "the script lies in a YOLOv5 checkout"),
        (["import", "one.pt"], "import THEIRS.pt OURS.pt"),
        (["export", "yolov5"], "export CHECKOUT OURS.pt THEIRS.pt"),
        (["export", ".", "a.pt", "b.pt"], "no models/yolo.py"),
        (["import", "model.yaml", "ours.pt"], "as torch.save writes it"),
        (["yolov5/train.py", "--cfg", "wrong.yaml"], "head row 2"),
        (["yolov5/train.py", "--cfg", "free.yaml"], "YOLOv5's Detect has anchors"),
        (["lacking/train.py"], "no module ultralytics_that_is_not_there"),
    ],
)
def test_mistakes_get_one_message_and_exit_2(home: Path, arguments: list[str], told: str) -> None:
    (home / "wrong.yaml").write_text(
        (home / "model.yaml").read_text().replace("Concat, [1]", "Concat, [2]", 1)
    )
    (home / "free.yaml").write_text(reference_path("yolov8n").read_text())
    lacking = write_checkout(home / "lacking")
    (lacking / "requirements.txt").write_text("ultralytics>=1\n")
    (lacking / "ultralytics.py").write_text("import ultralytics_that_is_not_there\n")
    done = command(home, *arguments)
    assert done.returncode == 2, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told in message
    assert "Traceback" not in done.stderr


def test_help_tells_the_forms(home: Path) -> None:
    for arguments in ([], ["--help"]):
        done = command(home, *arguments)
        assert done.returncode == 0
        assert "CHECKOUT/train.py --cfg model.yaml" in done.stdout
