"""The pictures that ranges of maps are found on, prepared as at inference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas import NasError
from nas.data.dataset import DataConfig, FileSource, read_data
from nas.data.decode import decode_image
from nas.data.images import letterbox
from nas.data.listing import list_images
from nas.space.image_size import ImageSize

PICTURES: Final = 128
"""So many are looked at, spread over all that are given."""

LEAST: Final = 8
"""With fewer, a map's range is that of a few scenes."""


class CalibrationError(NasError):
    """Pictures that no ranges can be found on."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures in memory as the detector sees them."""

    images: NDArray[np.uint8]
    """(N, H, W, 3) RGB, grey around what was no square."""
    source: str
    """Where they came from, for the report."""


def calibration_pictures(
    calib: str | None, data: DataConfig, image_size: ImageSize, count: int = PICTURES
) -> Pictures:
    """At most `count` pictures of `--calib`, else of the data's training part.

    calib  a folder of pictures, a list of them (.txt), or a data.yaml (its training part)

    CalibrationError where fewer than LEAST are there.
    """
    if calib is None:
        return _of_data(data, "--data", image_size, count)
    if calib.endswith((".yaml", ".yml")):
        return _of_data(read_data(calib), "--calib", image_size, count)
    place = Path(calib).absolute()
    found = list_images("--calib", place.parent, "calibration", [str(place)])
    return _of_files(tuple(one.path for one in found), "--calib", calib, image_size, count)


def _of_data(data: DataConfig, flag: str, image_size: ImageSize, count: int) -> Pictures:
    source, told = data.parts["train"], f"{data.name}, train"
    if isinstance(source, FileSource):
        return _of_files(source.files, flag, told, image_size, count)
    images = source.load(image_size, 1).spread(count).images
    _check(len(images), flag, told)
    return Pictures(images=images, source=told)


def _of_files(
    files: tuple[Path, ...], flag: str, told: str, image_size: ImageSize, count: int
) -> Pictures:
    _check(len(files), flag, told)
    places = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    decoded = (decode_image(files[place]) for place in places)
    squares = [letterbox(one, image_size)[0] for one in decoded if one is not None]
    _check(len(squares), flag, f"{told}, read")
    return Pictures(images=np.stack(squares), source=told)


def _check(count: int, flag: str, told: str) -> None:
    if count >= LEAST:
        return
    raise CalibrationError(
        flag,
        f"ranges of int8 maps are found on at least {LEAST} pictures",
        f"{count} ({told})",
        "Give a folder, a list or a data.yaml with more of them by --calib",
    )
