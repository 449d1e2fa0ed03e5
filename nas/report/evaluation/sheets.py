"""Contact sheets: the worst mistakes and the heat maps, as tiles for the page and as PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from nas.grading.boxes.crops import Crop
from nas.grading.boxes.heat import Heat, HeatMap
from nas.grading.boxes.mistakes import Mistake
from nas.report.evaluation.canvas import PALE, Canvas, Pixels, shortened
from nas.report.evaluation.plots import titles

BOX: Final = "#ff6a00"
"""What a detector says."""

OBJECT: Final = "#00b7ff"
"""What the labels say."""

TILE: Final = 200
"""Side of a tile's picture; the page has it twice as sharp as a sheet, of which the photographs
would make megabytes."""

GAP: Final = 16
TEXT: Final = 58
"""Height of a tile's three lines."""

COLUMNS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A small picture and three lines about it."""

    pixels: Pixels
    head: str
    why: str
    file: str


def mistake_tiles(mistakes: Sequence[Mistake], *, are_boxes: bool) -> tuple[Tile, ...]:
    """Of false boxes (`are_boxes`), or of missed objects."""
    return tuple(
        Tile(
            pixels=_framed(one.crop, BOX if are_boxes else OBJECT, OBJECT if are_boxes else BOX),
            head=f"{one.name} {one.score:.2f}" if are_boxes else one.name,
            why=one.why,
            file=one.file,
        )
        for one in mistakes
    )


def heat_tiles(maps: Sequence[HeatMap]) -> tuple[Tile, ...]:
    """Of boxes that are explained."""
    return tuple(
        Tile(
            pixels=_framed(
                Crop(pixels=_heated(one.crop.pixels, one.heat), box=one.crop.box), BOX, OBJECT
            ),
            head=f"{one.name} {one.score:.2f}",
            why="a true box" if one.is_true else "a false box",
            file=one.file,
        )
        for one in maps
    )


def sheet_png(title: str, about: Sequence[str], tiles: Sequence[Tile]) -> bytes:
    """All tiles on one picture; without any it says so."""
    rows = max(-(-len(tiles) // COLUMNS), 1)
    width = COLUMNS * (TILE + GAP) + GAP
    height = 76 + (rows * (TILE + TEXT + GAP) if tiles else 40)
    canvas = Canvas(width, height, scale=1)
    titles(canvas, title, *about)
    if not tiles:
        canvas.text("none", GAP, 92, colour=PALE)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        x, y = GAP + column * (TILE + GAP), 74 + row * (TILE + TEXT + GAP)
        canvas.image(tile.pixels, x, y, TILE, TILE)
        canvas.text(shortened(tile.head, TILE, 13, is_bold=True), x, y + TILE + 17, is_bold=True)
        canvas.text(shortened(tile.why, TILE, 11.5), x, y + TILE + 33, size=11.5)
        file = shortened(tile.file, TILE, 10.5)
        canvas.text(file, x, y + TILE + 48, size=10.5, colour=PALE)
    return canvas.png()


def _framed(crop: Crop, own: str, others: str) -> Pixels:
    """A square of 2 * TILE pixels: the cut-out in its middle, with its boxes."""
    canvas = Canvas(TILE, TILE)
    canvas.fill((0, 0, TILE, TILE), "#eef1f4")
    height, width = crop.pixels.shape[:2]
    scale = TILE / max(height, width)
    inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    left, top = (TILE - inner[0]) // 2, (TILE - inner[1]) // 2
    canvas.image(crop.pixels, left, top, *inner)

    def placed(corners: Sequence[float]) -> list[float]:
        moved = np.asarray(corners) * scale + (left, top, left, top)
        return [
            float(one)
            for one in np.clip(moved, (left, top) * 2, (left + inner[0], top + inner[1]) * 2)
        ]

    for one in crop.others:
        corners = placed(one)
        if corners[0] < corners[2] and corners[1] < corners[3]:
            canvas.box(corners, others, 1, is_dashed=True)
    canvas.box(placed(crop.box), "#ffffff", 2.5)
    canvas.box(placed(crop.box), own, 1.5)
    return canvas.pixels


def _heated(pixels: Pixels, heat: Heat) -> Pixels:
    """A picture in grey, with what is hot in colour."""
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    warm = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = np.clip(heat * 1.4, 0, 0.85)[..., None]
    mixed = grey * (1 - share) * 0.9 + cv2.cvtColor(warm, cv2.COLOR_BGR2RGB) * share
    return np.asarray(mixed.clip(0, 255), np.uint8)
