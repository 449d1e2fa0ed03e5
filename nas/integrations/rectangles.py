"""What YOLOv5 and Ultralytics make of a model that is for a rectangle; without torch.

Both train and validate at one side, `imgsz`, and know a rectangle (height first) only where boxes
are found: detect.py, predict, and export.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from nas.space.image_size import ImageSize, Rectangle, longest

Tool = Literal["YOLOv5", "Ultralytics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """How a tool's own arguments say it."""

    square: str
    """Trains at a square of one side."""
    padded: str
    """Trains at batches of pictures whose shapes are alike, padded to multiples of 32."""
    found: str
    """Finds boxes at a height and a width."""


WORDS: Final[dict[Tool, Words]] = {
    "YOLOv5": Words(
        square="--img {side}", padded="--rect", found="detect.py --imgsz {height} {width}"
    ),
    "Ultralytics": Words(
        square="imgsz={side}", padded="rect=True", found="predict imgsz={height},{width}"
    ),
}


def told_training(size: ImageSize | None, tool: Tool) -> str:
    """A line about a model YAML that is for a rectangle; empty where it isn't."""
    if not isinstance(size, Rectangle):
        return ""
    words = WORDS[tool]
    return (
        f"model YAML: it is for {size}; {tool} trains at a square "
        f"({words.square.format(side=longest(size))}), or with {words.padded} at each picture's "
        "own shape. nas.train trains at the rectangle"
    )


def told_weights(size: ImageSize, tool: Tool) -> str:
    """A line about weights for a rectangle that a tool is given; empty where they aren't."""
    if not isinstance(size, Rectangle):
        return ""
    found = WORDS[tool].found.format(height=size.height, width=size.width)
    return (
        f"they are for {size}; {tool} keeps one side, so they say imgsz {longest(size)}. "
        f"{found} (height first) finds boxes at the rectangle"
    )
