"""What benchmarks/deployed.py found, as a picture: milliseconds before, in and after the network.

python benchmarks/deployed_plot.py                 # benchmarks/deployed.csv -> docs/deployed.png
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from deployed import TIMES, FileRow
from rows import read_rows

from nas.report.evaluation.canvas import GRID, PALE, Canvas
from nas.terminal import command_line

PICTURE: Final = Path(__file__).resolve().parents[1] / "docs" / "deployed.png"

PARTS: Final = {"before": "#e0a030", "network": "#3465a4", "after": "#c04030"}
"""Part of a picture's time -> its colour."""

LEFT: Final = 300
WIDTH: Final = 860
BAR: Final = 15


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Draw the times of a bundle's files."""

    times: Path = TIMES
    """The CSV of benchmarks/deployed.py."""
    picture: Path = PICTURE
    """Where the picture goes."""


def run(arguments: Arguments) -> None:
    """Reads the CSV, and leaves the picture."""
    arguments.picture.write_bytes(drawn(read_rows(arguments.times, FileRow)))


def drawn(rows: list[FileRow]) -> bytes:
    """A bar for each file, the files of a bundle together."""
    groups = [list(own) for _, own in groupby(rows, key=lambda row: (row.set, row.model))]
    height = 92 + sum(len(own) * BAR + 12 for own in groups) + 20
    canvas = Canvas(WIDTH, height, 1)
    canvas.text(
        "Milliseconds of a picture, by detect.py --benchmark", 16, 26, size=17, is_bold=True
    )
    threads = f"{rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}"
    canvas.text(
        f"measured on {rows[0].machine}, {threads}; each the least of its runs", 16, 46, colour=PALE
    )
    x = 16.0
    for name, colour in PARTS.items():
        canvas.fill((x, 58, x + 12, 70), colour)
        canvas.text(name, x + 17, 69)
        x += 90
    most = max(row.before_ms + row.network_ms + row.after_ms for row in rows)
    scale = (WIDTH - LEFT - 110) / most
    for tick in range(0, int(most) + 1, max(1, round(most / 6))):
        place = LEFT + tick * scale
        canvas.line([(place, 84), (place, height - 22)], GRID, 1)
        canvas.text(str(tick), place, height - 8, size=11, align="centre", colour=PALE)
    y = 90
    for own in groups:
        size = f"{own[0].width}x{own[0].height}"
        canvas.text(f"{own[0].set} {own[0].model[:6]}", 16, y + 12)
        canvas.text(size, 16, y + 27, size=11, colour=PALE)
        for row in own:
            canvas.text(f"{row.runtime} {row.precision}", LEFT - 8, y + 11, size=12, align="right")
            x = float(LEFT)
            for part, colour in PARTS.items():
                wide = {"before": row.before_ms, "network": row.network_ms, "after": row.after_ms}
                canvas.fill((x, y + 1, x + wide[part] * scale, y + BAR - 2), colour)
                x += wide[part] * scale
            told = f"{(x - LEFT) / scale:.1f}   mAP {row.map50_95:.3f}"
            canvas.text(told, x + 6, y + 11, size=11, colour=PALE)
            y += BAR
        y += 12
    return canvas.png()


if __name__ == "__main__":
    command_line(Arguments, run)
