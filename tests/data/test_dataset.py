"""Laws of the data door: many spellings, one data set; a mistake, one message."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from nas import NasError
from nas.data import images
from nas.data.dataset import load_part, read_data
from nas.data.image_files import label_path
from nas.data.images import DataError, fit_frame, letterbox
from tests.data.pictures import write_data

ONE = "0 0.5 0.5 0.4 0.2\n"
GOOD = {"train": {"a": ONE, "b": None}, "val": {"c": "1 0.25 0.25 0.5 0.5\n"}}


def with_label(text: str) -> dict[str, dict[str, str | None]]:
    return {"train": {"a": ONE, "b": text}, "val": {"c": ONE}}


def test_a_data_set_is_read(tmp_path: Path) -> None:
    data = read_data(write_data(tmp_path / "mine", GOOD, nc=2))
    assert data.name == "mine"
    assert data.names == ("cat", "dog")
    assert set(data.parts) == {"train", "val"}
    train = load_part(data, "train", 64)
    assert train.images.shape == (2, 64, 64, 3)
    assert train.frames.tolist() == [[0, 8, 64, 48]] * 2
    assert train.classes.tolist() == [0]
    np.testing.assert_allclose(train.boxes, [[64 * 0.3, 8 + 48 * 0.4, 64 * 0.7, 8 + 48 * 0.6]])
    assert [train.of(i).stop - train.of(i).start for i in range(2)] == [1, 0]


def test_boxes_go_back_to_the_picture_as_it_came(tmp_path: Path) -> None:
    part = load_part(read_data(write_data(tmp_path, GOOD)), "val", 96)
    back = part.to_original(np.zeros(1, np.int64), part.boxes)
    np.testing.assert_allclose(back, [[0, 0, 20, 15]], atol=1e-9)


def test_all_spellings_of_names_and_parts_mean_the_same(tmp_path: Path) -> None:
    file = write_data(tmp_path, GOOD)
    base = yaml.safe_load(file.read_text())
    (tmp_path / "train.txt").write_text("./images/train/a.png\n\nimages/train/b.png\n")
    spellings = [
        {"names": {0: "cat", 1: "dog"}},
        {"train": ["images/train"]},
        {"train": "train.txt"},
        {"train": "../images/train"},  # as Roboflow writes it
        {"path": str(tmp_path)},
        {"path": "."},
        {"roboflow": {"project": "x"}, "download": "https://example.org"},
    ]
    digests = {read_data(file).digest}
    for spelling in spellings:
        file.write_text(yaml.safe_dump(base | spelling))
        digests.add(read_data(file).digest)
    assert len(digests) == 1


def test_the_digest_follows_the_labels(tmp_path: Path) -> None:
    file = write_data(tmp_path, GOOD)
    before = read_data(file).digest
    (tmp_path / "labels/train/b.txt").write_text(ONE)
    assert read_data(file).digest != before


def test_equal_lines_count_once_and_polygons_become_boxes(tmp_path: Path) -> None:
    text = ONE + ONE + "1 0.1 0.2 0.3 0.2 0.2 0.6\n"
    part = load_part(read_data(write_data(tmp_path, with_label(text), size=(64, 64))), "train", 64)
    assert part.classes.tolist() == [0, 0, 1]
    np.testing.assert_allclose(part.boxes[-1] / 64, [0.1, 0.2, 0.3, 0.6])


def test_rounded_boxes_are_clipped(tmp_path: Path) -> None:
    text = "0 0.05 0.5 0.11 0.2\n"
    part = load_part(read_data(write_data(tmp_path, with_label(text))), "train", 64)
    assert part.boxes[-1, 0] == 0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"val": None}, ["val", "must be given"]),
        ({"names": None}, ["names", "must be given"]),
        ({"names": []}, ["names", "at least one class"]),
        ({"names": ["a", "b", "a"]}, ["names", "differ", "`a` twice"]),
        ({"names": {0: "a", 2: "b"}}, ["names", "without a gap", "[0, 2]"]),
        ({"names": "cat"}, ["names", "a list of class names", "'cat'"]),
        ({"nc": 3}, ["nc", "number of names (2)", "3"]),
        ({"nc": "two"}, ["nc", "a whole number", "'two'"]),
        ({"trian": "x"}, ["trian", "path, train, val, test, nc, names", "unknown key `trian`"]),
        ({"train": "images/nowhere"}, ["train", "existing folder", "images/nowhere"]),
        ({"val": 3}, ["val", "a folder, a list of folders", "3"]),
        ({"path": "nowhere"}, ["path", "existing folder", "nowhere"]),
        ({"val": "labels/val"}, ["val", "at least one image", "labels/val"]),
        ({"train": []}, ["train", "at least one image", "an empty list"]),
    ],
)
def test_a_wrong_data_yaml_is_one_message(
    tmp_path: Path, keys: dict[str, object], words: list[str]
) -> None:
    file = write_data(tmp_path, GOOD, **keys)
    check(file, words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", ["from 0 to 1", "names 2 classes"]),
        ("-1 0.5 0.5 0.1 0.1", ["from 0 to 1"]),
        ("0.5 0.5 0.5 0.1 0.1", ["whole number"]),
        ("0 0.5 0.5 0.1", ["a label line is"]),
        ("0 0.5 0.5 0.1 0.1 0.9", ["a label line is"]),
        ("0 0.5 x 0.1 0.1", ["a label line is"]),
        ("0 0.5 nan 0.1 0.1", ["a label line is"]),
        ("0 12 14 5 5", ["0..1", "Divide pixels"]),
        ("0 0.5 0.5 1.2 0.1", ["0..1"]),
        ("0 -0.1 0.5 0.1 0.1", ["0..1"]),
        ("0 0.95 0.5 0.3 0.1", ["within its image"]),
        ("0 0.5 0.5 0 0.1", ["width and a height above 0"]),
        ("1 0.1 0.2 0.3 0.2 1.2 0.6", ["0..1"]),
    ],
)
def test_a_wrong_label_names_file_line_and_rule(
    tmp_path: Path, line: str, words: list[str]
) -> None:
    file = write_data(tmp_path, with_label(ONE + line + "\n"))
    check(file, ["b.txt:2", f"`{line}`", *words])


def test_many_wrong_labels_are_still_one_message(tmp_path: Path) -> None:
    file = write_data(tmp_path, with_label("7 0.5 0.5 0.1 0.1\n" * 1 + "x\ny\n"))
    check(file, ["b.txt:1", "and 2 more bad lines"])


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_part_of_background_alone_is_refused(tmp_path: Path, part: str) -> None:
    file = write_data(tmp_path, {"train": {"a": ONE}, "val": {"c": ONE}} | {part: {"z": None}})
    check(file, [part, "at least one image has a labelled object", str(Path("labels") / part)])


@pytest.mark.parametrize(
    ("text", "words"),
    [("names: [a", ["plain YAML"]), ("- a\n- b\n", ["is a mapping", "list"])],
)
def test_a_file_that_is_no_data_yaml(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(text)
    check(file, words)


def test_an_absent_file_and_an_absent_part(tmp_path: Path) -> None:
    check(tmp_path / "none.yaml", ["none.yaml", "no such file", "shapes"])
    data = read_data(write_data(tmp_path, GOOD))
    with pytest.raises(DataError, match=r"only train, val.*Add `test:`"):
        load_part(data, "test", 64)


def test_a_listed_image_that_is_not_there(tmp_path: Path) -> None:
    file = write_data(tmp_path, GOOD, train="train.txt")
    (tmp_path / "train.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    check(file, ["train.txt:2", "gone.png"])


def test_few_unreadable_images_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"train": {f"{i}": ONE for i in range(5)}, "val": {"c": ONE}}
    file = write_data(tmp_path, labels)
    (tmp_path / "images/train/3.png").write_bytes(b"no image")
    data = read_data(file)
    with caplog.at_level(logging.WARNING):
        part = load_part(data, "train", 64)
    assert len(part) == 4
    assert [Path(name).name for name in part.unreadable] == ["3.png"]
    assert "3.png" in caplog.text
    (tmp_path / "images/train/1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"train.*may be unreadable; got 2 of 5.*1\.png, .*3\.png"):
        load_part(data, "train", 64)


def test_sharing_images_between_train_and_val_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read_data(write_data(tmp_path, GOOD, val="images/train"))
    assert "2 of 2 images are in train too" in caplog.text


def test_labels_lie_where_yolo_looks() -> None:
    assert label_path(Path("x/images/train/a.b.jpg")) == Path("x/labels/train/a.b.txt")
    assert label_path(Path("images/images/a.png")) == Path("images/labels/a.txt")
    assert label_path(Path("plain/a.png")) == Path("plain/a.txt")


@pytest.mark.parametrize("shape", [(37, 91), (91, 37), (64, 64), (3, 200), (640, 1)])
def test_letterbox_fills_the_long_side_and_keeps_the_frame(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 255, np.uint8)
    square, (left, top, width, height) = letterbox(image, 64)
    assert (left, top, width, height) == fit_frame(shape[1], shape[0], 64)
    assert max(width, height) == 64
    assert min(width, height) >= 1
    assert (square[top : top + height, left : left + width] == 255).all()
    assert (square == 255).all(axis=2).sum() == width * height


def test_many_images_lie_in_a_file_that_has_no_name() -> None:
    count = images.MEMORY_LIMIT_BYTES // (64 * 64 * 3) + 1
    pixels = images._pixels(count, 64)
    assert isinstance(pixels, np.memmap)
    pixels[-1] = 7
    assert (pixels[-1] == 7).all()
    with pytest.raises(DataError, match=r"room for.*GB.*TMPDIR"):
        images._pixels(10**12, 64)


@pytest.mark.data
@pytest.mark.parametrize("name", ["bccd", "aquarium", "playing-cards"])
def test_real_data_sets_have_the_objects_that_their_notes_count(shared: Path, name: str) -> None:
    folder = shared / "datasets" / name
    data = read_data(folder / "data.yaml")
    noted = json.loads((folder / "stats.json").read_text())["per_split"]
    assert set(data.parts) == set(noted)
    part = load_part(data, "val", 64)
    assert not part.unreadable
    found = Counter(part.names[kind] for kind in part.classes)
    assert found == {kind: count for kind, count in noted["val"].items() if count}


def check(file: Path, words: list[str]) -> None:
    """Reading raises one DataError, of one line, that holds all the words."""
    with pytest.raises(DataError) as caught:
        read_data(file)
    message = str(caught.value)
    assert isinstance(caught.value, NasError)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert caught.value.remedy
