"""Laws of nas.integrations.ultralytics, on a stand-in package."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.deploy.weights import random_detector
from nas.integrations.ultralytics_weights import read_ultralytics, without_anchors
from nas.space.spec import dump_spec, parse_spec
from nas.training.on_disk.checkpoint import load_checkpoint, make_checkpoint, save_checkpoint
from tests.deploy.detectors import small
from tests.integrations.ultralytics_package import write_package

ROOT = Path(__file__).resolve().parents[2]
IMAGE = torch.full((1, 3, 64, 64), 0.5)


def command(
    home: Path, *arguments: str, packages: str = "packages"
) -> subprocess.CompletedProcess[str]:
    """`python -m nas.integrations.ultralytics` in that folder."""
    return subprocess.run(
        [sys.executable, "-m", "nas.integrations.ultralytics", *arguments],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{home / packages}"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after a training there, of a ReLU model with anchors (not to be changed)."""
    folder = tmp_path_factory.mktemp("taught")
    write_package(folder / "packages")
    (folder / "model.yaml").write_text(dump_spec(replace(small().spec, activation="ReLU")))
    done = command(folder, "train", "model=model.yaml", "steps=3")
    assert done.returncode == 0, done.stderr
    (folder / "train.out").write_text(done.stdout)
    (folder / "train.err").write_text(done.stderr)
    return folder


def boxes_there(home: Path, weights: str) -> tuple[str, torch.Tensor]:
    done = command(home, "val", f"model={weights}")
    assert done.returncode == 0, done.stderr
    return done.stdout, torch.load(home / "boxes.pt")


def boxes_here(path: Path) -> torch.Tensor:
    """As theirs lie: (1, 4 + classes, N)."""
    with torch.no_grad():
        boxes = load_checkpoint(path).build()(IMAGE)
    return torch.cat((boxes[..., :4], boxes[..., 5:]), -1).transpose(1, 2)


def test_their_command_runs_with_its_own_arguments_and_our_rows(taught: Path) -> None:
    told, errors = (taught / "train.out").read_text(), (taught / "train.err").read_text()
    losses = [float(word) for word in told.splitlines()[0].split()[1:]]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert "stands in for Detect, [nc, anchors]" in errors
    assert "rows, read and built by nas" in errors
    assert "kept SiLU False" in told  # what we set on their classes is put back


def test_weights_of_theirs_give_the_same_boxes_here(taught: Path) -> None:
    told, theirs = boxes_there(taught, "best.pt")
    assert "close True" in told
    done = command(taught, "import", "best.pt", "ours.pt")
    assert done.returncode == 0, done.stderr
    ours = load_checkpoint(taught / "ours.pt")
    assert (ours.names, ours.image_size) == (("red", "green"), 96)
    spec = parse_spec((taught / "ours.yaml").read_text())
    assert (spec.anchors, spec.activation) == ((), "ReLU")
    assert torch.allclose(boxes_here(taught / "ours.pt"), theirs, rtol=1e-5, atol=1e-4)


def test_weights_of_ours_give_the_same_boxes_there_and_come_back_equal(tmp_path: Path) -> None:
    write_package(tmp_path / "packages")
    spec = without_anchors(replace(small().spec, num_classes=3, activation="Hardswish"))
    detector = random_detector(spec, 96)
    save_checkpoint(tmp_path / "ours.pt", make_checkpoint(detector, ("a", "b", "c"), 64))
    done = command(tmp_path, "export", "ours.pt", "theirs.pt")
    assert done.returncode == 0, done.stderr
    told, theirs = boxes_there(tmp_path, "theirs.pt")
    assert "{0: 'a', 1: 'b', 2: 'c'}" in told
    assert torch.allclose(boxes_here(tmp_path / "ours.pt"), theirs, rtol=1e-5, atol=1e-4)
    back = read_ultralytics(tmp_path / "theirs.pt")
    assert (back.model, back.names, back.image_size) == (dump_spec(spec), ("a", "b", "c"), 64)
    state = detector.state_dict()
    assert state.keys() == back.weights.keys()
    assert all(torch.equal(value, back.weights[name]) for name, value in state.items())


def test_models_with_rows_of_theirs_alone_are_left_to_their_parser(taught: Path) -> None:
    (taught / "other.yaml").write_text("nc: 2\nbackbone: [[-1, 1, Plain, [8]]]\nhead: []\n")
    done = command(taught, "train", "model=other.yaml", "steps=1")
    assert done.returncode == 1
    assert "KeyError: 'Plain'" in done.stderr


def test_mistakes_get_one_message_and_exit_2(taught: Path) -> None:
    save_checkpoint(taught / "anchors.pt", make_checkpoint(small(), ("a",) * 80, 64))
    (taught / "broken" / "ultralytics").mkdir(parents=True)
    (taught / "broken" / "ultralytics" / "__init__.py").write_text("import not_there_at_all\n")
    (taught / "wrong.yaml").write_text(
        (taught / "model.yaml").read_text().replace("Concat, [1]", "Concat, [2]", 1)
    )
    cases = {
        ("train", "model=model.yaml"): ("broken", "no module not_there_at_all"),
        ("export", "anchors.pt", "theirs.pt"): ("packages", "weights of a head with anchors"),
        ("import", "model.yaml", "ours2.pt"): ("packages", "as torch.save writes it"),
        ("train", "model=wrong.yaml", "steps=1"): ("packages", "head row 2"),
    }
    for arguments, (packages, told) in cases.items():
        done = command(taught, *arguments, packages=packages)
        assert done.returncode == 2, done.stderr
        (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert told in message


def test_a_verb_of_theirs_is_not_taken_for_ours(taught: Path) -> None:
    """`yolo export model=best.pt format=onnx` is theirs, though it has two words after the verb."""
    done = command(taught, "export", "model=best.pt", "format=onnx")
    assert done.returncode == 0, done.stderr
    assert "close True" in done.stdout
