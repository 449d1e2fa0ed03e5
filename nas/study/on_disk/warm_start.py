"""What a run takes over of earlier ones: read once, kept in its folder, and not needed again there.

    runs/NAME/warm_start.json   what they graded, described as it would be on this board and data

An earlier run is a prior and no truth (nas.study.surrogate.prior): its scores are of other data,
its latencies of another board. None of its trials is one of this run, or counts as graded here; a
few architectures of its front are asked for first, and graded anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from nas.accuracy import AnyProxy, LearningSettings
from nas.documents import Strict, read_json
from nas.files import write_whole, writing
from nas.latency.answer import LatencyModel
from nas.space.choices import SpaceError
from nas.space.search_space import Candidate, SearchSpace, read_space
from nas.study.candidates import Candidates
from nas.study.limits import NO_SIZE_LIMITS, SizeLimits
from nas.study.on_disk.folder import RunError, study_name
from nas.study.on_disk.record import Asked, Record, find_study
from nas.study.on_disk.run import Settings, identity, read_settings
from nas.study.pareto import non_dominated, thin
from nas.study.sampling import SamplerName
from nas.study.surrogate.pool import coordinates, described_row, median_share
from nas.study.surrogate.prior import EarlierScores
from nas.study.trial import Outcome

FILE: Final = "warm_start.json"
"""In the run's folder."""

MOST: Final = 300
"""Graded architectures that are taken over of a run, at most: a fit to more takes seconds."""

FRONT: Final = 3
"""Architectures of an earlier front that are asked for first, at most. Five lose more where the
earlier run misleads than they gain where it does not (benchmarks/replay.py)."""


class TakenRun(Strict):
    """An earlier run, as it is kept.

    digest  of its settings, its architectures and their scores
    name    its folder, space, data and board, for messages
    rows    as EarlierScores has them
    front   choices of this space that are asked for first, by rising latency on this board
    """

    digest: str
    name: str
    rows: tuple[tuple[float, ...], ...]
    scores: tuple[float, ...]
    front: tuple[dict[str, int | float | str], ...]

    @property
    def earlier(self) -> EarlierScores:
        """What the surrogate learns of it."""
        return EarlierScores(rows=np.array(self.rows), scores=np.array(self.scores))

    def words(self, sampler: SamplerName) -> str:
        """What is taken over."""
        count = len(self.front)
        first = f"{count} of its front {'is' if count == 1 else 'are'} asked first"
        if not count:
            first = "none of its front is of this space and within the limits"
        if sampler == "surrogate":
            return f"{len(self.scores)} graded architectures are a prior, and {first}"
        return f"--sampler {sampler} takes over nothing but its front: {first}"


class WarmStartFile(Strict):
    """warm_start.json."""

    format: Literal[1] = 1
    runs: tuple[TakenRun, ...]


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """An earlier run as it was read.

    candidates  the architectures that it graded
    own         each as this run's space builds it; None where it does not
    """

    digest: str
    name: str
    candidates: tuple[Candidate, ...]
    own: tuple[Candidate | None, ...]
    scores: tuple[float, ...]


def read_earlier(
    folder: Path, space: SearchSpace, num_classes: int, proxy: AnyProxy, own: Path
) -> EarlierRun:
    """What the run in `folder` has graded, for a run in `own`. NasError where it can't be used."""
    where = f"--warm-start {folder}"
    if not (folder / "settings.yaml").is_file():
        got = "a folder without settings.yaml" if folder.is_dir() else "no such folder"
        raise RunError(where, "a warm start is from the folder of an earlier run", got)
    if folder.resolve() == own.resolve():
        raise RunError(where, "a warm start is from another run", "the run that begins or goes on")
    settings = read_settings(folder)
    _check_alike(where, settings.proxy, proxy)
    graded = _graded(folder, settings, where)
    theirs = space if settings.space.digest == space.digest else _their_space(settings, where)
    candidates = tuple(theirs.rebuild(one.choices, num_classes) for one in graded)
    mark = [identity(settings)] + [
        [one.digest, asked.score.score]
        for one, asked in zip(candidates, graded, strict=True)
        if asked.score
    ]
    return EarlierRun(
        digest=hashlib.sha256(json.dumps(mark).encode()).hexdigest()[:16],
        name=f"{folder} ({settings.space.name}, {settings.data.name}, {settings.latency.device})",
        candidates=candidates,
        own=tuple(_as_own(one, space, num_classes) for one in candidates),
        scores=tuple(asked.score.score for asked in graded if asked.score),
    )


def _check_alike(where: str, theirs: AnyProxy, proxy: AnyProxy) -> None:
    """RunError where one run grades by a mAP and the other does not, or by another thing."""
    is_map = isinstance(theirs, LearningSettings)
    if theirs.kind != proxy.kind and not (is_map and isinstance(proxy, LearningSettings)):
        raise RunError(
            where,
            "an earlier run graded as this one does: both by a mAP, or by the same --proxy",
            f"one by {theirs.kind} for one by {proxy.kind}",
            "Name a run that learnt something of that score",
        )


def _graded(folder: Path, settings: Settings, where: str) -> list[Asked]:
    """The graded trials of a run, MOST at most: its front and the latest."""
    is_inside = settings.storage == "study.db"
    if "***" in settings.storage:
        got = f"{settings.storage}, whose password is not kept"
        remedy = "Give the password by other means than the URL, or name a run with a study.db"
        raise RunError(where, "an earlier run's study can be opened", got, remedy)
    found: list[Asked] = []
    if not is_inside or (folder / "study.db").is_file():
        place = folder / "study.db" if is_inside else settings.storage
        mark = identity(settings)
        name = settings.study or find_study(place, study_name(folder), mark)
        asked = Record(place, name, mark, is_begun=True).asked()
        found = [one for one in asked if one.outcome is Outcome.GRADED and one.score is not None]
    if not found:
        rule, got = "an earlier run has graded some architectures", "none"
        raise RunError(where, rule, got, "Let it search first, or leave the flag out")
    latencies = [one.latency.ms for one in found]
    scores = [one.score.score for one in found if one.score]
    front = set(non_dominated(latencies, scores).tolist()[: MOST // 2])
    rest = [place for place in range(len(found)) if place not in front]
    kept = sorted(front | set(rest[max(0, len(rest) + len(front) - MOST) :]))
    return [found[place] for place in kept]


def _their_space(settings: Settings, where: str) -> SearchSpace:
    """The space of an earlier run, as it was. RunError where it is gone or another one."""
    rule = "the space of an earlier run is there as it was searched"
    named = settings.space.where or settings.space.name
    remedy = "Put the file back as it was, or name a run of a space that is there"
    try:
        found = read_space(named)
    except SpaceError as error:
        raise RunError(where, rule, str(error), remedy) from None
    if found.digest != settings.space.digest:
        got = f"{named} with digest {found.digest}, where it had {settings.space.digest}"
        raise RunError(where, rule, got, remedy)
    return found


def _as_own(candidate: Candidate, space: SearchSpace, num_classes: int) -> Candidate | None:
    """The same architecture as this space builds it; None where it has none."""
    try:
        own = space.rebuild(dict(candidate.choices), num_classes)
    except SpaceError:
        return None
    return own if own.digest == candidate.digest else None


def kept_runs(folder: Path) -> dict[str, TakenRun]:
    """What a run's folder keeps of earlier ones, by digest. RunError for a damaged file."""
    path = folder / FILE
    if not path.exists():
        return {}
    found = read_json(
        path,
        WarmStartFile,
        "what a run took over of earlier ones",
        RunError,
        lambda: "Delete it: the same command makes it anew while the earlier runs are there",
    )
    return {one.digest: one for one in found.runs}


def take_over(
    folder: Path,
    digests: Sequence[str],
    read: Mapping[str, EarlierRun],
    candidates: Candidates,
    model: LatencyModel,
    limit_ms: float | None,
    sizes: SizeLimits = NO_SIZE_LIMITS,
) -> tuple[TakenRun, ...]:
    """The earlier runs of these digests, from the run's folder, else as `read`; kept there."""
    kept = kept_runs(folder)
    taken = tuple(
        kept.get(one) or described(read[one], candidates, model, limit_ms, sizes) for one in digests
    )
    if any(one not in kept for one in digests):
        with writing(folder):
            write_whole(folder / FILE, WarmStartFile(runs=taken).model_dump_json() + "\n")
    return taken


def described(
    run: EarlierRun,
    candidates: Candidates,
    model: LatencyModel,
    limit_ms: float | None,
    sizes: SizeLimits = NO_SIZE_LIMITS,
) -> TakenRun:
    """An earlier run's architectures as they would be on this board and this data."""
    share, options = median_share(candidates), candidates.space.options()
    latencies = [model.predict(one.spec, one.image_size).ms for one in run.candidates]
    rows = [
        described_row(one, ms, share) for one, ms in zip(run.candidates, latencies, strict=True)
    ]
    own = [one for one in run.own if one is not None]
    if len(own) == len(rows):
        rows = [
            np.concatenate([row, coordinates(one, options)])
            for row, one in zip(rows, own, strict=True)
        ]
    within = [
        place
        for place, one in enumerate(run.own)
        if one is not None
        and (limit_ms is None or latencies[place] <= limit_ms)
        and sizes.is_met(one)
    ]
    front = (
        thin([latencies[i] for i in within], [run.scores[i] for i in within], FRONT).tolist()
        if within
        else []
    )
    return TakenRun(
        digest=run.digest,
        name=run.name,
        rows=tuple(tuple(row.tolist()) for row in rows),
        scores=run.scores,
        front=tuple(dict(run.candidates[within[place]].choices) for place in front),
    )
