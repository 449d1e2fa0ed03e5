"""An image file as pixels, the same whichever OpenCV is installed; or that it can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_START: Final = b"\xff\xd8"
JPEG_END: Final = b"\xff\xd9"

PADDING: Final = 16
"""So many zero bytes at an end are the room that an interrupted copy had reserved."""

FILLING: Final = b"\x55" * 64
"""Bytes that a JPEG's decoder reads as pixels where pixels are missing."""


def decode_image(file: Path) -> NDArray[np.uint8] | None:
    """The image as RGB (H, W, 3), turned as its EXIF says, or None if it can't be read.

    A JPEG without its end mark is read; one that was cut short inside its pixels is not, though
    older versions of OpenCV would fill it with grey.
    """
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if data.startswith(JPEG_START) and not data.endswith(JPEG_END):
        image = _without_end(data)
    else:
        image = _pixels(data)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _without_end(data: bytes) -> NDArray[np.uint8] | None:
    """A JPEG that does not end with its mark: complete, with something behind it, or cut short."""
    zeros = len(data) - len(data.rstrip(b"\0"))
    if zeros >= PADDING:
        data = data.rstrip(b"\0")
        if data.endswith(JPEG_END):
            return _pixels(data)
        if data.endswith(b"\xff"):
            data += b"\0"  # how a JPEG writes a pixel byte of 255
    data = data.rstrip(b"\xff")  # the first half of an end mark
    image = _pixels(data + JPEG_END)
    # Where all pixels are there, more bytes behind them change none.
    filled = _pixels(data + FILLING + JPEG_END)
    if image is None or filled is None or not np.array_equal(image, filled):
        return None
    return image


def _pixels(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels as OpenCV has them (H, W, 3), blue first."""
    if not data:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError):
        # A header of absurd size, a broken file, or a format that this OpenCV was built without.
        return None
    return None if image is None else image.astype(np.uint8)
