"""Laws of what an evaluation leaves: whole, readable, the same figures everywhere."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from nas.grading.boxes.crops import Crop
from nas.report.evaluation import folder as leaving
from nas.report.evaluation.canvas import Canvas, encoded, rgb, shortened, text_width
from nas.report.evaluation.document import evaluation_document
from nas.report.evaluation.folder import EvaluationFolderError, leave_evaluation
from nas.report.evaluation.lines import COLOURS, f1_confidence, precision_recall
from nas.report.evaluation.matrix import cell_colour, row_shares
from nas.report.evaluation.page import evaluation_page
from nas.report.evaluation.sheets import Tile, mistake_tiles, sheet_png
from tests.report.evaluation.made_up import AWKWARD, of_many_classes, of_nothing_found


class Reader(HTMLParser):
    """What stands in a page: its texts, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_needs_no_network_and_says_the_figures() -> None:
    evaluation = of_many_classes(9)
    one = evaluation.examinations[0]
    reader = read(evaluation_page(evaluation))
    assert all(source.startswith(("data:", "#")) for source in reader.sources)
    text = " ".join(reader.texts)
    assert f"{one.grades.map50_95:.3f}" in text
    assert f"from {one.curves.best_confidence:.2f} on" in text
    for heading in (
        "Precision over recall", "F1 over confidence", "What objects were taken for",
        "Worst false boxes", "Worst missed objects", "What made a box",
    ):  # fmt: skip
        assert heading in text
    assert "No heat maps: an exported file has no gradients" in text
    assert "pixels of the picture as it came" in text
    assert len([source for source in reader.sources if source.startswith("data:image")]) > 0


def test_names_are_text_and_no_code() -> None:
    page = evaluation_page(of_nothing_found())
    assert AWKWARD[1] not in page
    assert "&lt;b&gt;dog&lt;/b&gt; &amp; %{x}" in page
    assert AWKWARD[2] in page
    # In plotly's JSON, too.
    assert re.search(r"\\u003cb\\u003edog", page) is None


def test_empty_states_are_told() -> None:
    evaluation = of_nothing_found()
    one = evaluation.examinations[0]
    text = " ".join(read(evaluation_page(evaluation)).texts)
    assert "No box finds an object." in text
    assert "There are none." in text
    assert "(0 small, 0 medium, 1 large" in text
    plot = f1_confidence(one)
    assert (plot.mark, plot.lines[0].figure) == (None, "0")
    document = evaluation_document(evaluation)
    (each,) = document["evaluated"]
    assert each["per_size"]["small"]["map50_95"] is None
    assert each["per_size"]["large"]["map50_95"] == 0
    assert document["per_class"][AWKWARD[2]]["map50"] is None
    json.dumps(document, allow_nan=False)


def test_many_classes_are_a_crowd_with_one_mean() -> None:
    one = of_many_classes().examinations[0]
    for plot in (precision_recall(one), f1_confidence(one)):
        assert plot.is_crowded
        assert len({line.colour for line in plot.lines}) == 2
        assert [line.name for line in plot.lines if line.is_mean] == ["mean"]
    few = precision_recall(of_many_classes(len(COLOURS)).examinations[0])
    assert not few.is_crowded
    assert len({line.colour for line in few.lines}) == len(few.lines)


@pytest.mark.parametrize("make", [of_many_classes, of_nothing_found])
def test_every_picture_is_one(make: object, tmp_path: Path) -> None:
    assert callable(make)
    document = leave_evaluation(tmp_path / "a", make())
    (one,) = document["evaluated"]
    assert one["pictures"] == [
        f"{name}.png"
        for name in ("precision-recall", "f1-confidence", "confusion", "false-boxes",
                     "missed-objects")
    ]  # fmt: skip
    for name in one["pictures"]:
        pixels = cv2.imread(str(tmp_path / "a" / name))
        assert pixels is not None, name
        assert min(pixels.shape[:2]) > 100
        assert (tmp_path / "a" / name).stat().st_size < 1_000_000
        # Nothing is drawn up to the edge: nothing is cut off by it.
        for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
            assert (edge == 255).all(), name


def test_an_evaluation_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_evaluation(tmp_path / "a", of_nothing_found())
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device", "evaluation.html")

    monkeypatch.setattr(leaving, "evaluation_page", full)
    with pytest.raises(EvaluationFolderError, match=r"No space left on device.*an earlier one is"):
        leave_evaluation(tmp_path / "a", of_many_classes(3))
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_kill_between_two_renames_is_mended(tmp_path: Path) -> None:
    leave_evaluation(tmp_path / "a", of_nothing_found())
    (tmp_path / "a").rename(tmp_path / ".a.123.before")
    leave_evaluation(tmp_path / "a", of_nothing_found())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_name_keeps_both_ends_where_it_is_shortened() -> None:
    name = "IMG_2469_jpeg_jpg.rf.fca5db81cde8b.jpg"
    short = shortened(name, 90, 12)
    assert text_width(short, 12, False) <= 90
    assert short.startswith("IMG")
    assert short.endswith("jpg")
    assert shortened("cat", 90, 12) == "cat"
    assert shortened(name, 0, 12) == ".."


def test_text_that_is_turned_stands_where_it_was_asked() -> None:
    canvas = Canvas(60, 120)
    canvas.text_upwards("cat", 40, 100)
    y, x = np.nonzero(canvas.pixels[..., 0] < 128)
    assert 26 * 2 <= x.min() < x.max() <= 43 * 2
    assert y.max() <= 100 * 2
    assert y.min() >= 70 * 2


def test_colours_and_shares() -> None:
    assert rgb("#0a10ff") == (10, 16, 255)
    assert cell_colour(1.0) == "#08519c"
    shades = [sum(rgb(cell_colour(share))) for share in np.linspace(0, 1, 20)]
    assert shades == sorted(shades, reverse=True)
    counts = np.array([[1, 3], [0, 0]])
    assert row_shares(counts).tolist() == [[0.25, 0.75], [0, 0]]


def test_tiles_show_the_box_where_it_is() -> None:
    tiles = mistake_tiles(of_many_classes(9).examinations[0].false, are_boxes=True)
    assert tiles
    for tile in tiles:
        assert tile.pixels.shape == (400, 400, 3)
        orange = np.abs(tile.pixels.astype(int) - rgb("#ff6a00")).sum(axis=2) < 60
        y, x = np.nonzero(orange)
        assert len(y) > 100
        # A cut-out is at least 2.2 times as wide as its box.
        assert max(np.ptp(y), np.ptp(x)) < 0.6 * 400
    png = cv2.imdecode(np.frombuffer(sheet_png("A", ("b",), tiles[:5]), np.uint8), 1)
    assert png.shape[1] == 4 * 216 + 16
    assert isinstance(tiles[0], Tile)
    assert encoded(tiles[0].pixels, ".jpg").startswith(b"\xff\xd8")
    assert Crop(pixels=tiles[0].pixels, box=(0, 0, 1, 1)).others == ()


@pytest.mark.browser
def test_the_page_draws_itself_without_an_error(chromium: str, tmp_path: Path) -> None:
    leave_evaluation(tmp_path / "a", of_many_classes(9))
    page = tmp_path / "a" / "evaluation.html"
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--virtual-time-budget=8000", "--dump-dom",
         "--enable-logging=stderr", "--window-size=500,900", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    # Three plots were drawn, and none is wider than the page.
    assert done.stdout.count("main-svg") >= 3
    widths = [
        float(one) for one in re.findall(r'<svg class="main-svg"[^>]*width="([\d.]+)"', done.stdout)
    ]
    assert widths
    assert max(widths) <= 500
