"""Checkpoints of other tools that are damaged, or of another kind, get one message."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas import NasError
from nas.integrations.checkpoints import check_target, keep
from nas.integrations.ultralytics_weights import read_ultralytics
from nas.integrations.yolov5_weights import read_yolov5
from nas.training.on_disk.checkpoint import Checkpoint, make_checkpoint
from tests.deploy.detectors import small

READERS = [read_yolov5, read_ultralytics]


class Model(nn.Module):
    """Stands for a pickled model of theirs, with whatever attributes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(attributes)


def described(**changes: Any) -> dict[str, Any]:
    return {
        "nc": 1,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "anchors": 3,
        "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
        "head": [[[0], 1, "Detect", ["nc", "anchors"]]],
        **changes,
    }


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "document",
    [
        {},
        torch.zeros(2),
        {"model": torch.zeros(3)},
        {"model": None, "ema": 3},
        {"model": Model()},
        {"model": Model(yaml={})},
        {"model": Model(yaml=described())},
        {"model": Model(yaml=described(nc=Model()))},
        {"model": Model(yaml=described(anchors=None), names=3)},
        {"model": Model(yaml=described(backbone=3), names=None)},
        {"model": Model(yaml=described(head=[[[0], 1, "Foo", []]]))},
        {"model": Model(yaml={1: 2, "nc": "x"})},
        {"model": Model(yaml=described(), _buffers=3, _modules=[1], _parameters=None)},
    ],
)
def test_a_document_of_another_kind_gets_one_message(
    read: Callable[[Path], Checkpoint], document: Any, tmp_path: Path
) -> None:
    torch.save(document, tmp_path / "a.pt")
    with pytest.raises(NasError) as caught:
        read(tmp_path / "a.pt")
    assert str(caught.value).startswith(str(tmp_path / "a.pt"))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", "ä".encode("utf-16")])
def test_a_file_of_another_kind_gets_one_message(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    for path in (tmp_path / "a.pt", tmp_path, tmp_path / "no.pt"):
        with pytest.raises(NasError, match="the file is a model as torch"):
            read_yolov5(path)


def test_a_damaged_file_gets_one_message(tmp_path: Path) -> None:
    torch.save({"model": Model(yaml=described())}, tmp_path / "whole.pt")
    whole, rng = (tmp_path / "whole.pt").read_bytes(), random.Random(0)
    for turn in range(200):
        content = bytearray(whole)
        if turn % 3 == 0:
            content = content[: rng.randrange(len(content))]
        for _ in range(turn % 30 + 1):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(NasError):
            read_yolov5(tmp_path / "a.pt")


def test_nothing_is_overwritten_by_an_import(tmp_path: Path) -> None:
    source = tmp_path / "best.pt"
    source.write_bytes(b"theirs")
    (tmp_path / "link.pt").symlink_to(source)
    for target in (source, tmp_path / "link.pt", tmp_path, tmp_path / "no" / "ours.pt"):
        with pytest.raises(NasError, match="goes to a file of its own"):
            check_target(source, target)
    check_target(source, tmp_path / "ours.pt")
    checkpoint = make_checkpoint(small(), ("a",), 96)
    (tmp_path / "ours.yaml").write_text("# mine")
    with pytest.raises(NasError, match=r"ours\.yaml: .*another file of that name, which stays"):
        keep(checkpoint, tmp_path / "ours.pt")
    assert not (tmp_path / "ours.pt").exists()
    (tmp_path / "ours.yaml").unlink()
    for _ in range(2):
        keep(checkpoint, tmp_path / "ours.pt")
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.pt",
        "link.pt",
        "ours.pt",
        "ours.yaml",
    }
