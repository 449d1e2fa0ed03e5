"""From a sum of blocks to a network: what the sum misses, learnt from whole networks.

Blocks timed apart and added up miss what they do to one another (who finds its maps and weights
in which cache, how often the runtime is entered). The ratio of a network's time to its sum is
modelled as exp of a linear form in a few quantities of the network *per millisecond of the sum*:
so a quantity that costs a constant time each is caught, and a network twice as deep keeps its
ratio. Which quantities, and how strongly they are held back (ridge), is chosen by leaving one
network out, within the networks given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.space.blocks import Block
from nas.space.modules import MODULES, Family
from nas.space.ops import expand

Array = NDArray[np.float64]

QUANTITIES: Final = (
    "sum_ms",
    "blocks",
    "ops",
    "numbers between blocks",
    "numbers written",
    "weights",
    *(family.value for family in Family),
)
"""What a network is described by, each a sum over its blocks (numbers and weights in millions).

Of a family of modules its share of the sum; plain convolutions are what remains.
"""

_AT: Final = {name: i for i, name in enumerate(QUANTITIES)}

FORMS: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "scalar": ("one",),
    "start": ("one", "one/ms"),
    "blocks": ("one", "one/ms", "blocks"),
    "memory": ("one", "one/ms", "blocks", "numbers between blocks", "numbers written", "weights"),
    "kinds": ("one", *QUANTITIES[6:]),
    "all": ("one", "one/ms", *QUANTITIES[1:]),
}
"""Corrections to choose from, the simplest first: the columns of the linear form."""

STRENGTHS: Final = (10.0, 1.0, 0.1)
"""How strongly the coefficients are held back, in units of one network; the strongest first."""


@lru_cache(maxsize=65536)
def _shape_quantities(block: Block) -> tuple[float, ...]:
    graph = expand(block)
    between = sum(shape.elements for shape in graph.input_shapes)
    between += graph.ops[-1].shape_out.elements if graph.ops else 0
    written = sum(op.shape_out.elements for op in graph.ops)
    weights = sum(op.weights for op in graph.ops)
    return 1.0, float(len(graph.ops)), between / 1e6, written / 1e6, weights / 1e6


def quantities(block: Block, ms: float) -> Array:
    """A block's part in QUANTITIES, shape (len(QUANTITIES),); `ms` is its time."""
    own = MODULES[block.module].family
    shares = [ms * (own is family) for family in Family]
    return np.array([ms, *_shape_quantities(block), *shares])


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """A fitted correction.

    form          its name in FORMS
    coefficients  one for each column of the form, for columns less `centre` over `spread`
    """

    form: str
    strength: float
    coefficients: tuple[float, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    def factor(self, networks: Array) -> Array:
        """What to multiply the sums with, shape (n,); `networks` is (n, len(QUANTITIES))."""
        if not self.coefficients:
            return np.ones(len(networks))
        columns = (_columns(networks, self.form) - np.array(self.centre)) / np.array(self.spread)
        return np.asarray(np.exp(columns @ np.array(self.coefficients)), dtype=np.float64)


def _columns(networks: Array, form: str) -> Array:
    sums = networks[:, 0]
    found = []
    for name in FORMS[form]:
        if name == "one":
            found.append(np.ones(len(networks)))
        elif name == "one/ms":
            found.append(1 / sums)
        else:
            found.append(networks[:, _AT[name]] / sums)
    return np.stack(found, axis=1) if found else np.zeros((len(networks), 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A correction, and how well networks are predicted without having been seen.

    errors  log of predicted over measured for each network, shape (n,)
    """

    correction: Correction
    errors: Array


def fit_correction(networks: Array, measured_ms: Sequence[float]) -> Fitted:
    """The correction for networks (n, len(QUANTITIES)) that took `measured_ms`; n of 4 or more.

    The errors leave one network out of the choice of the form too: those of the form that did
    best flatter it, and an interval made from them would hold too few networks.
    """
    wanted = np.log(np.asarray(measured_ms, dtype=np.float64) / networks[:, 0])
    errors = np.empty(len(wanted))
    for i in range(len(wanted)):
        others = np.delete(np.arange(len(wanted)), i)
        chosen = _choose(networks[others], wanted[others]).correction
        errors[i] = np.log(chosen.factor(networks[i : i + 1])[0]) - wanted[i]
    return Fitted(correction=_choose(networks, wanted).correction, errors=errors)


def _choose(networks: Array, wanted: Array) -> Fitted:
    """The simplest form that is as good as the best when one network is left out.

    As good: its errors exceed the best one's by no more than the standard error of the difference,
    so that on a noisy machine nothing is made of noise (the one-standard-error rule, Breiman et
    al. 1984, on paired errors). A form is considered where there are at least three networks for
    each of its columns.
    """
    tried = [
        _fit(networks, wanted, form, strength)
        for form, columns in FORMS.items()
        if 3 * len(columns) <= len(wanted)
        for strength in (STRENGTHS if len(columns) > 1 else STRENGTHS[:1])
    ]
    best = min(tried, key=lambda one: float(np.abs(one.errors).mean()))
    for one in tried:
        worse = np.abs(one.errors) - np.abs(best.errors)
        if worse.mean() <= worse.std() / np.sqrt(len(worse)):
            return one
    return best


def fit_form(networks: Array, measured_ms: Sequence[float], form: str) -> Fitted:
    """The correction of one given form, for comparison."""
    wanted = np.log(np.asarray(measured_ms, dtype=np.float64) / networks[:, 0])
    return _fit(networks, wanted, form, STRENGTHS[-1])


def _fit(networks: Array, wanted: Array, form: str, strength: float) -> Fitted:
    """Ridge regression with the leave-one-out errors of its hat matrix."""
    columns = _columns(networks, form)
    count = columns.shape[1]
    if count == 0:
        empty = Correction(form=form, strength=strength, coefficients=(), centre=(), spread=())
        return Fitted(correction=empty, errors=-wanted)
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    # The first column is the intercept: it is neither centred nor held back.
    centre[0], spread[0] = 0.0, 1.0
    spread[spread == 0] = 1.0
    design = (columns - centre) / spread
    penalty = strength * np.diag([0.0, *[1.0] * (count - 1)])
    solve = np.linalg.solve(design.T @ design + penalty, design.T)
    coefficients = solve @ wanted
    residual = design @ coefficients - wanted
    leverage = np.einsum("ij,ji->i", design, solve)
    correction = Correction(
        form=form,
        strength=strength,
        coefficients=tuple(coefficients.tolist()),
        centre=tuple(centre.tolist()),
        spread=tuple(spread.tolist()),
    )
    return Fitted(correction=correction, errors=residual / np.maximum(1 - leverage, 1e-6))
