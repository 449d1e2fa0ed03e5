"""The pictures of docs/evaluation.md, made by nas.evaluate and shrunk to what a page may weigh.

    python benchmarks/evaluation_pictures.py WEIGHTS.pt --data DATA.yaml

Plots at half their width; of the contact sheets the first row, at 0.8 of its width.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import cv2
import tyro

from nas import evaluate
from nas.report.evaluation.sheets import GAP, TEXT, TILE

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"

PLOTS: Final = ("precision-recall", "f1-confidence", "confusion")
SHEETS: Final = ("false-boxes", "heat-maps")

ROW: Final = 74 + TILE + TEXT + GAP
"""Pixels of a sheet down to the end of its first row."""

HEAVIEST: Final = 150_000
"""Bytes of a picture."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Draw the pictures anew."""

    weights: Annotated[Path, tyro.conf.Positional]
    """A best.pt of nas.train."""
    data: str
    """The data set that it was taught."""


def run(arguments: Arguments) -> None:
    """Evaluates, and writes docs/evaluation-*.png."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "evaluation"
        evaluate.run(
            evaluate.Arguments(model=arguments.weights, data=arguments.data, run=str(folder))
        )
        for name in (*PLOTS, *SHEETS):
            pixels = cv2.imread(str(folder / f"{name}.png"))
            assert pixels is not None, name
            if name in PLOTS:
                pixels = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            else:
                pixels = cv2.resize(
                    pixels[:ROW], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA
                )
            path = DOCS / f"evaluation-{name}.png"
            assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
            size = path.stat().st_size
            print(f"{path.name}: {size} bytes" + (", too heavy" if size > HEAVIEST else ""))


if __name__ == "__main__":
    run(tyro.cli(Arguments))
