"""The classes of the drawings, and the form of an object of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.data.drawings.forms import SIMPLE, Form
from nas.data.drawings.glyphs import CARDS, HANDS, LETTERS, STROKES, card, letter, stroke
from nas.data.drawings.things import THINGS

NAMES: Final = (
    *SIMPLE,
    *THINGS,
    *(f"letter {one}" for one in LETTERS),
    *(f"stroke {number}" for number in range(STROKES)),
    *(f"card {number}" for number in range(CARDS)),
)

UPRIGHT: Final = 0.2
"""Standard deviation, in radians, of the turn of what usually stands upright."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class: its number, the form of this object of it, and whether it turns freely."""

    number: int
    form: Form
    turns: bool


def any_kind(number: int, rng: np.random.Generator) -> Kind:
    """An object of a class; letters come in any of several hands."""
    name = NAMES[number]
    if name in SIMPLE:
        return Kind(number=number, form=SIMPLE[name], turns=True)
    if name in THINGS:
        return Kind(number=number, form=THINGS[name], turns=bool(rng.random() < 0.35))
    word, sign = name.split()
    if word == "letter":
        form = letter(sign, int(rng.integers(0, HANDS)))
        return Kind(number=number, form=form, turns=False)
    if word == "card":
        return Kind(number=number, form=card(int(sign), int(rng.integers(0, HANDS))), turns=True)
    return Kind(number=number, form=stroke(int(sign)), turns=True)
