"""What a search has to beat: a plain width/depth/resolution grid, and hand-designed detectors.

The grid is drawn from the space itself: all widths and depths at the same share of their range, at
each image size, everything else at its plain option. The hand-designed ones are the model YAMLs in
search_spaces/reference/, whatever is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from nas import NasError
from nas.accuracy import Score
from nas.latency.answer import Latency, LatencyModel
from nas.space.references import (
    as_candidate,
    fits,
    reference_files,
    reference_size,
)
from nas.space.search_space import Candidate
from nas.space.spec import read_spec, with_anchors, with_classes
from nas.study.after.grading_again import grade_further
from nas.study.candidates import Candidates, anchors_at, anchors_like
from nas.study.on_disk.record import BASELINE, Record
from nas.study.sampling import is_ordinal
from nas.study.trial import Trial
from nas.study.workers import Grader

logger = logging.getLogger(__name__)

SHARES: Final = (0.0, 0.5, 1.0)
"""Of the range of widths and depths, for the grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A detector that no search made; `score` is None where it was not graded."""

    name: str
    origin: Literal["grid", "hand-designed"]
    candidate: Candidate
    latency: Latency
    score: Score | None = None


def grid(candidates: Candidates, model: LatencyModel) -> list[Baseline]:
    """The plain grid of a space, each architecture once, by rising latency."""
    options = candidates.space.options()
    found: dict[str, Baseline] = {}
    for size in options["image_size"]:
        for share in SHARES:
            choices = _plain(options, share) | {"image_size": size}
            candidate = candidates.rebuild(choices)
            baseline = Baseline(
                name=f"grid {share:.0%} width and depth, {size} px",
                origin="grid",
                candidate=candidate,
                latency=model.predict(candidate.spec, candidate.image_size),
            )
            found.setdefault(candidate.digest, baseline)
    return sorted(found.values(), key=lambda b: b.latency.ms)


def references(
    candidates: Candidates, model: LatencyModel, folder: Path | None = None
) -> list[Baseline]:
    """The hand-designed detectors, for the data at hand, at the space's middle image size.

    One whose strides this size does not fit is left out; one that can't be read or predicted is
    named in a warning and left out.
    """
    size = reference_size(candidates.space)
    found = []
    for path in reference_files(folder):
        try:
            spec = with_classes(read_spec(path), candidates.num_classes)
            anchors = anchors_like(candidates.anchors, spec.anchors)
            spec = with_anchors(spec, anchors_at(anchors, size))
            if not fits(spec, size):
                continue
            latency = model.predict(spec, size)
        except NasError as error:
            logger.warning("baseline %s is left out: %s", path.stem, error)
            continue
        found.append(
            Baseline(
                name=f"{path.stem}, {size} px",
                origin="hand-designed",
                candidate=as_candidate(spec, size),
                latency=latency,
            )
        )
    return sorted(found, key=lambda b: b.latency.ms)


def spread(baselines: Sequence[Baseline], count: int, slowest_ms: float) -> list[Baseline]:
    """At most `count` baselines not slower than `slowest_ms`, spread evenly over them."""
    within = [b for b in baselines if b.latency.ms <= slowest_ms]
    if len(within) <= count:
        return within
    places = np.linspace(0, len(within) - 1, count).round().astype(int) if count > 1 else [0]
    return [within[int(place)] for place in places[:count]]


def grade_baselines(
    baselines: Sequence[Baseline],
    seed: int,
    record: Record,
    grader: Grader,
    on_done: Callable[[int, int], None],
    graded: Sequence[Trial] = (),
) -> list[Baseline]:
    """The baselines with their scores, under the search's own seed; `graded` it has graded.

    One whose grading fails stays without a score.
    """
    wanted = [(b.candidate, seed) for b in baselines]
    known = {(t.candidate.digest, seed): t.score for t in graded if t.score is not None}
    scores = grade_further(wanted, BASELINE, record, grader, on_done, known)
    return [replace(b, score=scores.get((b.candidate.digest, seed))) for b in baselines]


def _plain(options: Mapping[str, tuple[Any, ...]], share: float) -> dict[str, Any]:
    """Widths and depths at a share of their range; else the first word, the lower middle number."""
    choices = {}
    for name, values in options.items():
        place = 0
        if name.endswith((".width", ".depth")):
            place = round(share * (len(values) - 1))
        elif is_ordinal(values):
            place = (len(values) - 1) // 2
        choices[name] = values[place]
    return choices
