"""What a detector was given by a seed, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_COUNT: Final = re.compile(r"(\d+) of (\d+) (.+)")


@dataclass(frozen=True, kw_only=True)
class RowCut:
    """What one row was given.

    row      its number; `module` what it is
    origin   what of the seed stands there; empty where nothing does
    cut      what was left out of that (`32 of 48 channels`), or brought to another form
    made_up  what is there that the seed does not have
    """

    row: int
    module: str
    origin: str
    cut: tuple[str, ...] = ()
    made_up: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all of the row is the seed's own: what is made up is never to be frozen."""
        return bool(self.origin) and not self.made_up


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a cut took, cut and made up.

    seed   the seed's name
    rows   one of each row of the detector
    end    why the backbone's rows after the last one taken have nothing; empty if they all have
    keeps_classes   whether the layer of the classes came along
    """

    seed: str
    rows: tuple[RowCut, ...]
    end: str = ""
    keeps_classes: bool = False

    @property
    def taken(self) -> tuple[int, ...]:
        """The rows that were given anything."""
        return tuple(row.row for row in self.rows if row.origin)

    @property
    def freezable(self) -> tuple[int, ...]:
        """The rows from 0 on, without a gap, that are wholly the seed's."""
        count = 0
        while count < len(self.rows) and self.rows[count].is_whole:
            count += 1
        return tuple(range(count))

    def lines(self) -> tuple[str, ...]:
        """Three lines for a person: what was taken from where, what was cut, what was made up."""
        if not self.taken:
            return (f"nothing was taken from {self.seed}: {self.end}",)
        own = [row for row in self.rows if not row.origin]
        made = [*self._said(row.made_up for row in self.rows)]
        if own:
            made.append(f"rows {_ranges(row.row for row in own)} keep their own initialisation")
        end = f" ({self.end})" if self.end else ""
        return (
            f"rows {_ranges(self.taken)} start from {self.seed}{end}",
            f"cut: {'; '.join(self._cuts()) or 'nothing'}",
            f"made up: {'; '.join(made) or 'nothing'}",
        )

    def _cuts(self) -> list[str]:
        """What was cut: of channels the least and the largest share kept, in per cent."""
        shares: dict[str, list[tuple[int, float]]] = {}
        others: list[tuple[str, ...]] = []
        for row in self.rows:
            left = []
            for note in row.cut:
                count = _COUNT.fullmatch(note)
                if count is None:
                    left.append(note)
                    continue
                kept, there, what = count.groups()
                shares.setdefault(what, []).append((row.row, 100 * int(kept) / int(there)))
            others.append(tuple(left))
        said = []
        for what, found in shares.items():
            low, high = (f"{way(share for _, share in found):.0f}" for way in (min, max))
            span = low if low == high else f"{low} to {high}"
            said.append(f"{span} % of {what} (row {_ranges(row for row, _ in found)})")
        return said + self._said(others)

    def _said(self, notes: Iterable[tuple[str, ...]]) -> list[str]:
        """Each note once, with the rows that it holds for."""
        rows: dict[str, list[int]] = {}
        for row, own in zip(self.rows, notes, strict=True):
            for note in own:
                rows.setdefault(note, []).append(row.row)
        return [f"{note} (row {_ranges(where)})" for note, where in rows.items()]


def _ranges(numbers: Iterable[int]) -> str:
    """1, 2, 3, 5 as `1-3, 5`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
