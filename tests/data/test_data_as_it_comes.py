"""Laws of the data door for data as people have it: Windows, Jupyter, Roboflow, cameras, links."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from nas.data.dataset import DataConfig, FileSource, load_part, read_data
from nas.data.decode import decode_image
from nas.data.images import DataError
from tests.data.pictures import write_data

ONE = "0 0.5 0.5 0.4 0.2\n"
TWO = {"train": {"a": ONE, "b": ONE}, "val": {"c": ONE}}


def names_of(data: DataConfig, part: str) -> list[str]:
    """The file names of a part, in order."""
    source = data.parts[part]
    assert isinstance(source, FileSource)
    return [file.name for file in source.files]


def boxes_of(data: DataConfig, part: str = "train") -> list[list[float]]:
    """The boxes of a part's images, rounded."""
    source = data.parts[part]
    assert isinstance(source, FileSource)
    return [box.round(6).tolist() for labels in source.labels for box in labels.boxes]


def refused(file: Path) -> str:
    """The one message of a data set that is not read."""
    with pytest.raises(DataError) as caught:
        read_data(file)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize(
    "stray",
    [
        ".ipynb_checkpoints/a-checkpoint.png",
        ".thumbnails/a.png",
        "__MACOSX/a.png",
        "._a.png",
        "@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg",
        "sub/.hidden/deep/a.png",
    ],
)
def test_files_of_other_programs_are_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stray: str
) -> None:
    file = write_data(tmp_path / ".kept", TWO)
    place = tmp_path / ".kept/images/train" / stray
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / ".kept/images/train/a.png", place)
    with caplog.at_level(logging.WARNING):
        data = read_data(file)
    assert names_of(data, "train") == ["a.png", "b.png"]
    assert "1 file left out" in caplog.text
    assert stray in caplog.text


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    file = write_data(tmp_path / "d", TWO)
    disk = tmp_path / "disk" / "batch2"
    disk.mkdir(parents=True)
    shutil.copy(tmp_path / "d/images/train/a.png", disk / "z.png")
    (tmp_path / "d/labels/train/batch2").mkdir()
    (tmp_path / "d/labels/train/batch2/z.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "d/images/train/batch2").symlink_to(disk)
    (tmp_path / "d/images/train/loop").symlink_to(tmp_path / "d/images")
    data = read_data(file)
    assert names_of(data, "train")[:3] == ["a.png", "b.png", "z.png"]
    assert [0.4, 0.4, 0.6, 0.6] in boxes_of(data)


@pytest.mark.parametrize("folder", ["images/train", "images"])
def test_labels_are_found_beside_a_linked_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: str
) -> None:
    """The images lie on another disk, the labels beside the link to them."""
    file = write_data(tmp_path / "d", TWO)
    before = read_data(file).digest
    (tmp_path / "disk").mkdir()
    shutil.move(tmp_path / "d" / folder, tmp_path / "disk" / "pictures")
    (tmp_path / "d" / folder).symlink_to(tmp_path / "disk" / "pictures")
    assert read_data(file).digest == before
    assert "label files lie beside a link to the images" in caplog.text


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    """A list, a data.yaml and a label file mean the same in each encoding that can be told."""
    file = write_data(tmp_path, TWO, train="train.txt")
    lines = "images/train/a.png\r\n\r\nimages/train/b.png\r\n"
    (tmp_path / "train.txt").write_bytes(lines.encode("utf-8"))
    before = read_data(file).digest
    mark = {"utf-16-le": "", "utf-16-be": ""}.get(encoding, "")
    for path in (tmp_path / "train.txt", file, tmp_path / "labels/train/a.txt"):
        path.write_bytes((mark + path.read_text()).encode(encoding))
    assert read_data(file).digest == before


@pytest.mark.parametrize("encoding", ["gb18030", "latin-1", "shift-jis"])
def test_another_encoding_is_named_and_its_remedy_works(tmp_path: Path, encoding: str) -> None:
    file = write_data(tmp_path, TWO)
    word = "é" if encoding == "latin-1" else "数据"
    text = f"# first\n# {word}\n" + file.read_text()
    file.write_bytes(text.encode(encoding))
    message = refused(file)
    assert "UTF-8" in message
    assert "in line 2" in message
    assert "Save it as UTF-8" in message
    assert "Correct the path" not in message
    file.write_text(text, encoding="utf-8")
    read_data(file)
    (tmp_path / "train.txt").write_bytes(f"{word}.png\n".encode(encoding))
    assert "Save it as UTF-8" in refused(write_data(tmp_path, TWO, train="train.txt"))


@pytest.mark.parametrize(
    "line",
    [
        "images/train/a.png",
        "./images/train/a.png",
        r"images\train\a.png",
        r".\images\train\a.png",
        '"images/train/a.png"',
        r"'images\train\a.png'",
        "images/train/a.png  \t",
        "# a remark\nimages/train/a.png",
        "images/val/../train/a.png",
        "{root}/images/train/a.png",
    ],
)
def test_lines_of_a_list_are_read_as_meant(tmp_path: Path, line: str) -> None:
    file = write_data(tmp_path, TWO, train="LIST.TXT")
    (tmp_path / "LIST.TXT").write_text(line.format(root=tmp_path) + "\r\n")
    data = read_data(file)
    assert names_of(data, "train") == ["a.png"]
    assert boxes_of(data) == [[0.3, 0.4, 0.7, 0.6]]


def test_a_line_of_a_windows_machine_is_named(tmp_path: Path) -> None:
    file = write_data(tmp_path, TWO, train="train.txt")
    (tmp_path / "train.txt").write_text("images/train/a.png\nD:\\data\\images\\b.png\n")
    message = refused(file)
    assert "train.txt:2" in message
    assert "Windows" in message


def test_what_a_list_names_and_is_no_image_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_data(tmp_path, TWO, train="train.txt")
    (tmp_path / "train.txt").write_text("images/train/a.png\nlabels/train/a.txt\n")
    assert names_of(read_data(file), "train") == ["a.png"]
    assert "listed and left out, since they are no images: labels/train/a.txt" in caplog.text


def test_one_image_spelled_twice_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_data(tmp_path, TWO, train="train.txt", val="labels/../images/train")
    (tmp_path / "images/train/link.png").symlink_to("a.png")
    (tmp_path / "train.txt").write_text(
        "./images/train/link.png\nimages/train/a.png\nimages/val/../train/a.png\n"
        f"{tmp_path}/images/train/b.png\nimages/train/b.png\n"
    )
    data = read_data(file)
    assert names_of(data, "train") == ["a.png", "b.png"]  # a, since link.png has no labels
    assert "3 files named more than once" in caplog.text
    assert "val: 2 of 2 images are in train too" in caplog.text


@pytest.mark.parametrize("entry", ["images/tr*", "images/train/*.png", "images/**/[ab].png"])
def test_a_pattern_is_read_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, entry: str
) -> None:
    data = read_data(write_data(tmp_path, TWO, train=entry))
    assert names_of(data, "train") == ["a.png", "b.png"]
    assert f"`{entry}` is taken for a pattern" in caplog.text


def test_a_part_may_mix_folders_and_lists(tmp_path: Path) -> None:
    file = write_data(tmp_path, TWO, train=["images/val", "list.txt"])
    (tmp_path / "list.txt").write_text("images/train/b.png\n")
    assert names_of(read_data(file), "train") == ["c.png", "b.png"]
    assert "an empty one" in refused(write_data(tmp_path, TWO, train=["", "images/train"]))


@pytest.mark.parametrize("inside", [".", ".."])
def test_labels_do_not_depend_on_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """data.yaml lies inside images/, and there is an images folder above it too."""
    home = tmp_path / "images" / "set"
    file = write_data(home, TWO)
    moved = home / "images" / "data.yaml"
    file.rename(moved)
    moved.write_text(yaml.safe_dump({"train": "train", "val": "val", "names": ["cat", "dog"]}))
    monkeypatch.chdir(moved.parent / inside)
    data = read_data("data.yaml" if inside == "." else "images/data.yaml")
    assert boxes_of(data) == 2 * [[0.3, 0.4, 0.7, 0.6]]


def roboflow(folder: Path, count: int, names: list[str]) -> Path:
    """A data set as Roboflow unpacks it."""
    for part in ("train", "valid"):
        for index in range(count):
            image = folder / part / "images" / f"{index}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            (folder / part / "labels").mkdir(exist_ok=True)
            assert cv2.imwrite(str(image), np.full((20, 30, 3), 50 + index, np.uint8))
            (folder / part / "labels" / f"{index}.txt").write_text(ONE)
    parts = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    (folder / "data.yaml").write_text(yaml.safe_dump(parts | {"names": names, "nc": len(names)}))
    return folder / "data.yaml"


def test_a_roboflow_set_reads_its_own_images_and_goes_on_without_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roboflow(tmp_path, 6, ["RBC"])
    (tmp_path / "test" / "images").mkdir(parents=True)
    shutil.copy(tmp_path / "train/images/0.png", tmp_path / "test/images/0.png")
    data = read_data(roboflow(tmp_path / "second", 2, ["cat"]))
    assert len(names_of(data, "train")) == len(names_of(data, "val")) == 2
    assert "as Roboflow means it" in caplog.text
    # The test images of the data set above are not this one's.
    assert set(data.parts) == {"train", "val"}
    assert "going on without the test part" in caplog.text
    with pytest.raises(DataError, match=r"test: a part is an existing folder.*second/test/images"):
        load_part(data, "test", 64)


def test_a_folder_above_is_read_where_only_that_exists(tmp_path: Path) -> None:
    write_data(tmp_path, TWO)
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "my.yaml"
    document = {"train": "../images/train", "val": "../images/val", "names": ["cat"]}
    file.write_text(yaml.safe_dump(document))
    assert len(names_of(read_data(file), "train")) == 2


@pytest.mark.parametrize("empty", ["", "  ", [], [""], None])
def test_an_empty_part_is_no_part(tmp_path: Path, empty: object) -> None:
    file = write_data(tmp_path, TWO)
    document = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(document | {"test": empty}))
    assert set(read_data(file).parts) == {"train", "val"}
    for part in ("train", "val") if empty != [] else ():
        file.write_text(yaml.safe_dump(document | {part: empty}))
        assert f"{part}: `{part}:` must be given" in refused(file)


@pytest.mark.parametrize("text", [None, "", "7 0.5 0.5 0.1 0.1\n"])
def test_a_test_part_that_cannot_grade_is_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    data = read_data(write_data(tmp_path, TWO | {"test": {"t": text}}))
    assert set(data.parts) == {"train", "val"}
    assert "going on without the test part" in caplog.text
    with pytest.raises(DataError, match="test"):
        load_part(data, "test", 64)


@pytest.mark.parametrize(
    "names",
    [
        "[yes, no, 2]",
        "{0: yes, 1: no, 2: 2}",
        "\n  - yes\n  - no\n  - 2",
        '{"0": yes, 1: no, "2": 2}',
    ],
)
def test_names_stay_as_they_are_spelled_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: str
) -> None:
    file = write_data(tmp_path, TWO)
    parts = "train: images/train\nval: images/val\n"
    file.write_text(f"{parts}names: {names}\n")
    assert read_data(file).names == ("yes", "no", "2")
    assert '"yes", "no", "2" taken as text' in caplog.text
    for unnamed in ("[a, ~]", "[a, '']", "{0: a, 1: }"):
        file.write_text(f"{parts}names: {unnamed}\n")
        assert "names" in refused(file)


def test_keys_of_other_tools_change_nothing_and_strangers_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_data(write_data(tmp_path, TWO)).digest
    known = {"download": "bash x.sh", "flip_idx": [0], "is_coco": False, "roboflow": {"a": 1}}
    assert read_data(write_data(tmp_path, TWO, **known)).digest == before
    assert "without effect" not in caplog.text
    assert read_data(write_data(tmp_path, TWO, annotator="me")).digest == before
    assert "without effect: `annotator:`" in caplog.text
    for misspelled in ("trian", "Names", "tests", "paths"):
        assert "unknown key" in refused(write_data(tmp_path, TWO, **{misspelled: "x"}))
    file = write_data(tmp_path, TWO)
    file.write_text(file.read_text() + "train: images/val\n")
    assert "a key stands once in a mapping; got train again (first in line" in refused(file)
    file.write_text("? [a, b]\n: 1\n")
    assert "a key is a plain value" in refused(file)


def test_validation_and_classes_without_names_are_read_as_ultralytics_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_data(tmp_path, TWO)
    file.write_text("train: images/train\nvalidation: images/val\nnc: 2\n")
    data = read_data(file)
    assert data.names == ("class_0", "class_1")
    assert len(names_of(data, "val")) == 1
    assert "`validation:` is taken for `val:`" in caplog.text
    assert "the classes are called class_0, class_1" in caplog.text


# Labels


def labelled(folder: Path, text: str, **keys: object) -> Path:
    """A data set whose every label file is this text."""
    return write_data(folder, {"train": {"a": text, "b": text}, "val": {"c": text}}, **keys)


CORNERS = "0 0.6 0.6 0.2 0.2 0.52 0.52 0.68 0.52 0.68 0.68 0.52 0.68\n"
SEEN = "0 0.6 0.6 0.2 0.2 0.52 0.52 2 0.68 0.52 1 0 0 0 0.52 0.68 2\n"


@pytest.mark.parametrize(("row", "shape"), [(CORNERS, [4, 2]), (SEEN, [4, 3])])
def test_the_box_of_key_points_is_the_box(tmp_path: Path, row: str, shape: list[int]) -> None:
    data = read_data(labelled(tmp_path, row, kpt_shape=shape, flip_idx=[1, 0, 3, 2]))
    assert boxes_of(data) == 2 * [[0.5, 0.5, 0.7, 0.7]]
    message = refused(labelled(tmp_path, "0 0.5 0.5 0.1 0.1 0.5 0.5\n", kpt_shape=shape))
    assert "as kpt_shape says" in message


@pytest.mark.parametrize("row", [CORNERS, SEEN, "0 0.5 0.5 0.4 0.4 0.5 0.6\n"])
def test_rows_that_may_be_key_points_are_asked_about(tmp_path: Path, row: str) -> None:
    """What the message tells to write settles it."""
    message = refused(labelled(tmp_path, row))
    assert "key points" in message
    shape = yaml.safe_load(message.split("`kpt_shape: ")[1].split("`")[0])
    box = boxes_of(read_data(labelled(tmp_path, row, kpt_shape=shape)))[0]
    assert box[0] > 0.25
    if row is not SEEN:
        assert "task: segment" in message
        assert read_data(labelled(tmp_path, row, task="segment"))


@pytest.mark.parametrize(
    ("rows", "box"),
    [
        # A turned box in four corners, as OBB data has it.
        ("0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6\n", [0.4, 0.4, 0.6, 0.6]),
        ("0 0.5 0.3 0.7 0.5 0.5 0.7 0.3 0.5\n", [0.3, 0.3, 0.7, 0.7]),
        # Segments of several lengths.
        (CORNERS + "0 0.1 0.1 0.2 0.1 0.2 0.2\n", [0.2, 0.2, 0.68, 0.68]),
    ],
)
def test_polygons_stay_polygons_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: str, box: list[float]
) -> None:
    assert boxes_of(read_data(labelled(tmp_path, rows)))[0] == box
    assert "taken for polygons" in caplog.text


@pytest.mark.parametrize(
    ("row", "box"),
    [
        ("0 0.5 0.5 1.0000001 0.5\n", [0, 0.25, 1, 0.75]),
        ("0 0.5 0.5 1.01 1.01\n", [0, 0, 1, 1]),
        ("0 0.5 0.5 1 -0\n0 -0.0000001 0.5 0.01 0.5\n", None),
        ("0 0.1 0.1 1.0021 0.1 0.9 0.9\n", [0.1, 0.1, 1, 0.9]),
        ("0.0\t0.5\t0.5\t0.5\t0.5  \r\n\r\n", [0.25, 0.25, 0.75, 0.75]),
        ("0 0.5 0.5 0.5 0.5 \n0 0.5 0.5 0.5 0.50\n", [0.25, 0.25, 0.75, 0.75]),
    ],
)
def test_rounding_tabs_and_blanks_are_read(
    tmp_path: Path, row: str, box: list[float] | None
) -> None:
    file = labelled(tmp_path, row)
    if box is None:
        assert "width and a height above 0" in refused(file)
    else:
        assert boxes_of(read_data(file)) == 2 * [box]


@pytest.mark.parametrize(
    "row", ["0 0.5 0.5 1.011 0.5", "0 1.02 0.5 0.1 0.5", "0 1.005 0.5 0.008 0.5"]
)
def test_more_than_rounding_is_refused(tmp_path: Path, row: str) -> None:
    assert "a.txt:1" in refused(labelled(tmp_path, row))


def test_what_labels_are_there_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_data(
        tmp_path,
        {"train": {"a": ONE, "b": None, "c": None, "d": ""}, "val": {"e": ONE + ONE}},
        names=("cat", "dog"),
    )
    (tmp_path / "labels/train/b.png.txt").write_text(ONE)
    (tmp_path / "labels/train/classes.txt").write_text("cat\ndog\n")
    data = read_data(file)
    assert data.tallies == (
        "train: 4 images, 1 objects, 3 backgrounds",
        "val: 1 images, 1 objects, 0 backgrounds",
    )
    assert "train: 2 of 4 images have no label file and count as background" in caplog.text
    assert "1 label file belongs to no image" in caplog.text
    assert "b.png.txt" in caplog.text
    assert "classes.txt" not in caplog.text
    assert "val: 1 label line stands there a second time" in caplog.text
    assert "train: no object of the class dog" in caplog.text


def test_one_label_file_of_two_images_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_data(tmp_path, TWO)
    assert cv2.imwrite(str(tmp_path / "images/train/a.jpg"), np.zeros((20, 20, 3), np.uint8))
    read_data(file)
    assert "1 label file is of several images" in caplog.text


# Images


def picture() -> np.ndarray:
    """A picture with edges and noise, blue first."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    image[10:30, 10:40] = (20, 90, 200)
    return image


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("tail", [b"", b"\0" * 500, b"\xff"])
def test_a_jpeg_without_its_end_mark_is_read_and_a_cut_one_is_not(
    tmp_path: Path, progressive: int, tail: bytes
) -> None:
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    whole = decode_image(file)
    assert whole is not None
    file.write_bytes(data[:-2] + tail)
    assert np.array_equal(decode_image(file), whole)
    file.write_bytes(data + tail + b"behind the end mark")
    assert np.array_equal(decode_image(file), whole)
    for length in (0, 1, 2, 100, len(data) // 2, len(data) * 9 // 10):
        file.write_bytes(data[:length] + (tail if length > 100 else b""))
        assert decode_image(file) is None


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_formats_are_read_in_any_case_and_cut_ones_are_not(tmp_path: Path, suffix: str) -> None:
    file = write_data(tmp_path, TWO)
    data = cv2.imencode(suffix, picture())[1].tobytes()
    place = (tmp_path / "images/train/a.png").rename(tmp_path / f"images/train/a{suffix.upper()}")
    place.write_bytes(data)
    assert len(load_part(read_data(file), "train", 64)) == 2
    place.write_bytes(data[: len(data) // 2])
    assert load_part(read_data(file), "train", 64).unreadable == (str(place),)


def huge_png() -> bytes:
    """The header of a one-bit PNG of 40000 x 40000 pixels, and nothing behind it."""
    import struct
    import zlib

    body = b"IHDR" + struct.pack(">IIBBBBB", 40000, 40000, 1, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header


@pytest.mark.parametrize("content", ["huge", "heic", "link", "folder link"])
def test_an_image_that_cannot_be_decoded_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = write_data(tmp_path, TWO)
    place = tmp_path / "images/train" / ("x.heic" if content == "heic" else "x.png")
    if content == "huge":
        place.write_bytes(huge_png())
    elif content == "heic":
        place.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    elif content == "link":
        place.symlink_to(tmp_path / "gone" / "x.png")
    else:
        (tmp_path / "images/train/gone").symlink_to(tmp_path / "gone")
        place.write_bytes(b"")
    part = load_part(read_data(file), "train", 64)
    assert part.unreadable == (str(place),)
    assert "going on without 1 unreadable image" in caplog.text
