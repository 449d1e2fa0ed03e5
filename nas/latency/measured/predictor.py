"""The latency of any detector from a table: blocks summed, corrected, with an interval.

A block that the table has counts as measured, any other comes from the cost model fitted to the
table. The sum is corrected by what whole networks taught (correction.py), and its interval is
conformal: it is as wide as the errors of networks that were predicted without being seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.answer import Latency, LatencyKind, LayerTime, part_of, stage_of
from nas.latency.device import TableKey
from nas.latency.measured import kinds_of_work
from nas.latency.measured import other_spaces as foreign
from nas.latency.measured.correction import Correction, quantities
from nas.latency.measured.cost_model import (
    CostModel,
    Smoothness,
    block_terms,
    fit_cost_model,
    fit_rates,
)
from nas.latency.measured.fit_file import SpaceFit, read_fits
from nas.latency.measured.other_spaces import nearest_fit
from nas.latency.measured.table import TableError, measure_remedy, profile_command
from nas.latency.measured.table_cache import Condensed, read_condensed
from nas.space.blocks import Block, blocks, layers
from nas.space.image_size import ImageSize
from nas.space.modules import MODULES
from nas.space.search_space import SearchSpace, SpaceError, read_space
from nas.space.spec import ModelSpec

Array = NDArray[np.float64]


MOSTLY: Final = 0.5
"""A network of which less was timed than this share is doubtful."""

SURE_TO: Final = 0.01
"""The error of a network all of whose blocks were measured, to which that of the cost model is
added when intervals are scaled. Only the ratio of the two matters."""


class BlockTimes:
    """Time and quantities of every block: from the table, or else from the cost model.

    The cost model is fitted when a block first needs it (half a second, where the smoothness is
    known), unless it was before: `cost_model`.
    """

    def __init__(
        self,
        measured_ms: dict[Block, float],
        smoothness: Smoothness | None,
        cost_model: CostModel | None = None,
    ) -> None:
        self.measured_ms = measured_ms
        self.smoothness = smoothness
        self._cost_model = cost_model
        self._known: dict[Block, Array] = {}

    @property
    def cost_model(self) -> CostModel:
        """The cost model of the measured blocks."""
        if self._cost_model is None:
            found, ms = list(self.measured_ms), list(self.measured_ms.values())
            self._cost_model = fit_cost_model(found, ms, self.smoothness)
        return self._cost_model

    @cached_property
    def rates(self) -> Array:
        """What a unit of each of the cost model's TERMS takes (ms): its physical part alone."""
        if self._cost_model is not None:
            return self._cost_model.rates
        found, ms = list(self.measured_ms), list(self.measured_ms.values())
        return fit_rates(block_terms(found), np.array(ms))

    def rows(self, wanted: Sequence[Block]) -> list[Array]:
        """Quantities of each block (len(QUANTITIES),) and, last, its measured ms (0: modelled)."""
        lacking = [b for b in dict.fromkeys(wanted) if b not in self._known]
        modelled = [block for block in lacking if block not in self.measured_ms]
        times = (
            dict(self.measured_ms)
            if not modelled
            else {
                **self.measured_ms,
                **dict(zip(modelled, self.cost_model.predict(modelled).tolist(), strict=True)),
            }
        )
        for block in lacking:
            ms = times[block]
            known = self.measured_ms.get(block, 0.0)
            self._known[block] = np.append(quantities(block, ms), known)
        return [self._known[block] for block in wanted]

    def network(self, wanted: Sequence[Block]) -> tuple[Array, float]:
        """Quantities of a network (len(QUANTITIES),) and the share of its sum that was measured."""
        total = np.sum(self.rows(wanted), axis=0)
        return total[:-1], float(total[-1] / total[0])

    def networks(self, wanted: Iterable[Sequence[Block]]) -> tuple[Array, Array]:
        """Quantities (n, len(QUANTITIES)) and measured shares (n,) of networks."""
        found = [self.network(one) for one in wanted]
        return np.stack([one for one, _ in found]), np.array([share for _, share in found])


def uncertainty(measured_share: Array, cost_model_error: float) -> Array:
    """How unsure networks are relative to one another, shape (n,): scales the interval."""
    return SURE_TO + (1 - measured_share) * cost_model_error


class Predictor:
    """A `LatencyModel` made from a table and what was fitted on it for one space.

    is_foreign  whether it answers for networks of another space, None where nobody says of which
                they are: then those are taken for it of which less than MOSTLY was timed
    """

    def __init__(
        self, key: TableKey, table: Condensed, fit: SpaceFit, *, is_foreign: bool | None = False
    ) -> None:
        self.is_foreign = is_foreign
        self.key = key
        self.kind = LatencyKind.PREDICTED
        self.fit = fit
        smoothness = fit.smoothness()
        self.times = BlockTimes(table.block_ms, smoothness, table.cost_model(smoothness))
        self._correction: Correction = fit.correction_form()
        self.provenance = _provenance(key, table, fit)

    def predict(self, spec: ModelSpec, image_size: ImageSize) -> Latency:
        """How long the detector takes on the table's board (ms), predicted."""
        return self.predict_blocks(blocks(spec, image_size))

    def parts(self, spec: ModelSpec, image_size: ImageSize) -> tuple[LayerTime, ...]:
        """Each layer's part in the detector's time, in order."""
        total = self.predict(spec, image_size).ms
        walked = layers(spec, image_size)
        rows = [self.times.rows(layer.blocks) for layer in walked]
        scale = total / sum(float(row[0]) for found in rows for row in found)
        found = []
        for layer, own in zip(walked, rows, strict=True):
            ms = scale * sum(float(row[0]) for row in own)
            shares = kinds_of_work.shares(self.times.rates, layer.blocks)
            split = {name: ms * share for name, share in shares.items()}
            is_measured = all(row[-1] > 0 for row in own)
            stage = stage_of(layer, len(spec.backbone), image_size)
            found.append(part_of(layer, stage, ms, split, is_measured=is_measured))
        return tuple(found)

    def doubts(self, walk: Sequence[Block]) -> list[str]:
        """Whether most of the network stands on blocks that were never timed."""
        share = self.times.network(walk)[1]
        if share >= MOSTLY:
            return []
        return [
            f"{1 - share:.0%} of it are blocks that were never timed: the cost model's answer, in "
            f"a wider interval; the error stated is that of {self.fit.space}"
        ]

    def predict_blocks(self, walk: Sequence[Block]) -> Latency:
        """How long a network of these blocks takes (ms), predicted."""
        network, share = self.times.network(walk)
        factor = float(self._correction.factor(network[np.newaxis])[0])
        unsure = uncertainty(np.array([share]), self.fit.cost_model_error)[0]
        half = self.fit.interval_quantile * float(unsure)
        is_foreign = share < MOSTLY if self.is_foreign is None else self.is_foreign
        if is_foreign:
            trusted = min(max(factor, 1 / foreign.MOST), foreign.MOST)
            # As much as was measured of it, it is a network like those of the fit.
            factor = factor**share * trusted ** (1 - share)
            half += foreign.extra_width(self.fit, float(network[0]) * factor, share)
        ms, width = float(network[0]) * factor, float(np.exp(half))
        return Latency(
            ms=ms,
            low_ms=ms / width,
            high_ms=ms * width,
            kind=LatencyKind.PREDICTED,
            measured_share=share,
            heldout_mape=self.fit.report.mape,
        )


def _provenance(key: TableKey, table: Condensed, fit: SpaceFit) -> dict[str, Any]:
    environment = table.environment
    found: dict[str, Any] = {
        **asdict(key),
        "board": environment.get("board", ""),
        "system": environment.get("system", ""),
        "runtime_version": environment.get("runtime_version", ""),
        "date": environment.get("date", ""),
        "space": fit.space,
        "blocks_measured": fit.blocks_measured,
        "blocks_in_space": fit.blocks_in_space,
        "heldout_networks": fit.report.count,
        "heldout_mape": fit.report.mape,
        "interval_coverage": fit.report.coverage,
        "noise_floor": fit.report.noise_floor,
        "doubts": table_doubts(key, table, fit),
    }
    return found


def table_doubts(key: TableKey, table: Condensed, fit: SpaceFit) -> list[str]:
    """What a reader of the predictions should know, each with its remedy."""
    found = []
    if table.doubtful > 0.05 * len(table.blocks):
        found.append(
            f"the times of {table.doubtful} of {len(table.blocks)} blocks are doubtful: profile "
            "again when the board is idle"
        )
    if fit.table_rows != table.row_count:
        found.append(f"the table has changed since the predictor was fitted: {_again(key, fit)}")
    if table.damaged:
        numbers = ", ".join(map(str, table.damaged[:5]))
        found.append(f"{len(table.damaged)} lines of the table are damaged (line {numbers})")
    if table.is_emulated:
        found.append("the board was emulated: its times mean nothing")
    return found


def _again(key: TableKey, fit: SpaceFit) -> str:
    """How to fit a space again: by its command, where its name is known."""
    try:
        is_known = read_space(fit.space).digest == fit.space_digest
    except SpaceError:
        is_known = False
    return profile_command(key, fit.space) if is_known else f"profile {fit.space} again"


def load_predictor(
    key: TableKey,
    root: Path | None = None,
    space: SearchSpace | None = None,
    num_classes: int = 80,
    walk: Sequence[Block] = (),
) -> Predictor:
    """The predictor of a table: fitted for `space`, or else for networks that are most like it.

    walk  without a space: the network that will be asked for, by which the fit is chosen (none: the
          last made)

    TableError where there is no table, or nothing fitted; the message has the command that helps.
    """
    fits = read_fits(key, root)
    if not fits:
        table = read_condensed(key, root)
        raise TableError(
            f"latency table of {key}",
            "the table has been validated on whole networks (the last part of profiling)",
            f"{table.row_count} rows and no fit",
            measure_remedy(key, root, space.flag if space else ""),
        )
    alike = [fit for fit in fits if space is not None and fit.space_digest == space.digest]
    if alike or (space is None and not walk):
        chosen = (alike or fits)[-1]
        table = read_condensed(key, root, chosen.smoothness())
        return Predictor(key, table, chosen, is_foreign=None if space is None else False)
    table = read_condensed(key, root, fits[-1].smoothness())
    times = BlockTimes(
        table.block_ms, fits[-1].smoothness(), table.cost_model(fits[-1].smoothness())
    )
    walks = [walk] if space is None else _drawn(space, num_classes)
    middle = float(np.median([times.network(one)[0][0] for one in walks]))
    chosen = nearest_fit(fits, middle)
    table = read_condensed(key, root, chosen.smoothness())
    if space is None:
        return Predictor(key, table, chosen, is_foreign=None)
    predictor = Predictor(key, table, chosen, is_foreign=True)
    predictor.provenance["doubts"].insert(
        0, _foreign_doubt(key, root, space, num_classes, predictor)
    )
    return predictor


def _drawn(space: SearchSpace, num_classes: int) -> list[Sequence[Block]]:
    """A few random networks of a space."""
    rng = np.random.default_rng(0)
    drawn = [space.random(rng, num_classes=num_classes) for _ in range(9)]
    return [blocks(one.spec, one.image_size) for one in drawn]


def _foreign_doubt(
    key: TableKey, root: Path | None, space: SearchSpace, num_classes: int, predictor: Predictor
) -> str:
    wanted = [b for b in space.blocks(num_classes) if not MODULES[b.module].is_head]
    measured = sum(block in predictor.times.measured_ms for block in wanted)
    remedy = measure_remedy(key, root, space.flag, "To measure it")
    return foreign.doubt(measured, len(wanted), space.name, predictor.fit, remedy)
