"""Anchors that a model only counts are fitted to the data, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.space.references import REFERENCES
from nas.space.spec import dump_spec, parse_spec
from nas.train import fit_to


def boxes_of_the_usual_anchors() -> NDArray[np.float64]:
    """Boxes that YOLOv5's own anchors suit perfectly."""
    sizes = np.array(parse_spec(text("")).anchors, np.float64).reshape(-1, 2)
    return np.concatenate((np.zeros_like(sizes), sizes), 1)


def text(line: str) -> str:
    rows = (REFERENCES / "yolov5n.yaml").read_text().split("backbone:")
    return f"nc: 3\ndepth_multiple: 0.33\nwidth_multiple: 0.25\n{line}\nbackbone:{rows[1]}"


@dataclass
class Part:
    """What `fit_to` asks of a training part."""

    image_size: int = 320
    boxes: NDArray[np.float64] = field(default_factory=boxes_of_the_usual_anchors)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_they_are_fitted_also_where_usual_ones_would_do(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = parse_spec(text(f"anchors: {count}"))
    fitted = fit_to(spec, "m", Part())  # type: ignore[arg-type]
    assert not fitted.has_open_anchors
    assert [len(level) for level in fitted.anchors] == [2 * count] * 3
    assert f"m: {count} anchors a level, fitted to the data" in capsys.readouterr().err
    assert parse_spec(dump_spec(fitted)) == fitted
    stated = parse_spec(text(""))
    assert fit_to(stated, "m", Part()).anchors == stated.anchors  # type: ignore[arg-type]
