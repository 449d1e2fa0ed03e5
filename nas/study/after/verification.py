"""A front that was timed on its board: how far predictions were off, and which front is left.

It stands on a run's files alone (pareto.json, models/, settings.yaml): a run is verified as well
where its space or its table has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from nas import NasError
from nas.latency.device import Device, TableKey
from nas.latency.measured.table import (
    Table,
    TableError,
    TableWriter,
    open_table,
    read_table,
)
from nas.latency.reach.runner import Runner
from nas.latency.verified.residuals import (
    NORMAL_90,
    Interval90,
    ResidualCorrection,
    correct_by_residuals,
    keeps_limit,
)
from nas.latency.verified.times import (
    VISITS,
    NetworkTime,
    lacking,
    read_times,
    session_drift,
    session_pace,
    time_networks,
)
from nas.space.references import as_candidate
from nas.space.search_space import Candidate
from nas.space.spec import image_size_of, parse_written, read_spec
from nas.study.on_disk.pareto_file import FrontRow, ParetoFile
from nas.study.pareto import is_as_fast, non_dominated

FOLDER: Final = "verified"
"""Of what was timed, inside a run's folder."""

OVER: Final = 0.03
"""A point that takes more than the limit by this share is counted."""


TELLING: Final = 0.01
"""A pace nearer to 1 is not worth a sentence."""


class VerifyError(NasError):
    """A run whose front can't be verified: another device, no front, models that were edited."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedPoint:
    """A point of the front or a runner-up, predicted and (`time`, where the board ran it) measured.

    corrected    the prediction, corrected by what was measured
    others_ms    predicted on the other boards that the search weighed
    keeps_limit  the probability that it keeps the run's limit; None without one
    failure      what the runtime objected to
    """

    row: FrontRow
    is_on_front: bool
    time: NetworkTime | None
    corrected: Interval90
    keeps_limit: float | None
    others_ms: tuple[float, ...] = ()
    failure: str = ""

    @property
    def ms(self) -> float:
        """What counts: measured, or the corrected prediction."""
        return self.corrected.ms if self.time is None else self.time.ms

    @property
    def each_ms(self) -> tuple[float, ...]:
        """What counts on every board that the search weighed."""
        return (self.ms, *self.others_ms)

    @property
    def kind(self) -> str:
        """Of `ms`."""
        return self.row.latency_kind.value if self.time is None else "measured"

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1."""
        return None if self.time is None else self.row.latency_ms / self.time.ms - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontChange:
    """A point that left the front, or entered it, and why."""

    name: str
    way: Literal["left", "entered"]
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What came of holding a front against its board.

    environment  the board, its system and runtime in the last session
    points       the front and the runners-up, each by rising prediction
    corrections  by the way to run, each of which has a table and an error of its own (None: the run
                 has one)
    drift        how far two rings of one network differ (standard deviation, a share)
    pace         how long the gauges took now over what they took when the table was made; None
                 where nothing was measured then
    front        the final one, by rising latency
    """

    environment: Mapping[str, Any]
    points: tuple[VerifiedPoint, ...]
    corrections: Mapping[str | None, ResidualCorrection]
    drift: float
    pace: float | None
    limit_ms: float | None
    front: tuple[VerifiedPoint, ...]
    changes: tuple[FrontChange, ...]

    @property
    def measured(self) -> tuple[VerifiedPoint, ...]:
        """The points that were timed."""
        return tuple(point for point in self.points if point.time is not None)

    @property
    def errors(self) -> list[float]:
        """Predicted over measured, less 1, of each point that was timed."""
        return [point.error for point in self.points if point.error is not None]

    @property
    def far_over(self) -> tuple[VerifiedPoint, ...]:
        """Points of the predicted front that take more than the limit by OVER."""
        if self.limit_ms is None:
            return ()
        bound = self.limit_ms * (1 + OVER)
        return tuple(p for p in self.measured if p.is_on_front and p.ms > bound)


def candidates_of_front(folder: Path, pareto: ParetoFile) -> dict[str, Candidate]:
    """Digest -> detector, of the front and the runners-up, from their YAMLs.

    VerifyError where there is no front, or a YAML is not the model that was searched.
    """
    if not pareto.front:
        raise VerifyError(
            str(folder),
            "the run has a front to verify",
            "an empty one: nothing has been graded within the limit",
            "Go on with the search first: the same nas.search command",
        )
    found = {}
    for row in pareto.rows:
        if row.model is not None:
            where, spec = str(folder / row.model), read_spec(folder / row.model)
        else:
            where = f"{folder / 'pareto.json'}, runner-up {row.name}"
            spec = parse_written(row.yaml or "", where)
        candidate = as_candidate(spec, image_size_of(None, [spec]))
        if candidate.digest != row.digest:
            raise VerifyError(
                where,
                f"the YAML is the architecture that was searched (digest {row.digest})",
                candidate.digest,
                "It was edited: repeat the run's nas.search command, which writes it anew",
            )
        found[row.digest] = candidate
    return found


def checked_keys(pareto: ParetoFile, device: Device, asked: str | None) -> dict[str, TableKey]:
    """As what each detector is timed, by digest: the run's own device, in the detector's own way.

    VerifyError where another device is asked for, or the runtime is one that nobody times here.
    """
    if asked is not None and asked != pareto.device:
        raise VerifyError(
            "--device",
            f"a front is verified on the device that it was searched for, {pareto.device}",
            asked,
            f"Leave --device out, or search for {asked}: python -m nas.search --device {asked}",
        )
    keys = keys_of(pareto)
    for key in dict.fromkeys(keys.values()):
        check_timed(key, device)
    return keys


def keys_of(pareto: ParetoFile) -> dict[str, TableKey]:
    """As what each of the front and the runners-up is timed, by digest.

    With the run's runtime, precision and threads; in a search over several ways with its fastest.
    """
    own = TableKey(
        device=pareto.device,
        runtime=pareto.runtime,
        precision=pareto.precision,
        threads=pareto.threads,
    )
    return {
        row.digest: own if row.way is None else TableKey.of_stem(pareto.device, row.way)
        for row in pareto.rows
    }


def check_timed(key: TableKey, device: Device) -> None:
    """VerifyError where nobody times this runtime and precision on the device."""
    runtimes: dict[str, Any] = {str(name): own for name, own in device.runtimes.items()}
    if key.precision not in runtimes.get(key.runtime, ()):
        timed = ", ".join(f"{name} {p}" for name, own in device.runtimes.items() for p in own)
        raise VerifyError(
            f"device {device.name}",
            f"the front's runtime and precision are timed there ({timed})",
            f"{key.runtime} {key.precision}",
            "It can be estimated, and not verified",
        )


def time_front(
    folder: Path,
    keys: Mapping[str, TableKey],
    candidates: Mapping[str, Candidate],
    space: str,
    runner: Runner,
    on_done: Callable[[int, int], None],
) -> None:
    """Times what is not timed yet, each row being kept in the run's folder at once.

    keys     as what each is timed, by digest, as `candidates` are; one way after the other
    space    the digest of the run's space
    on_done  is told how many timings are done and wanted
    """
    root, wanted, before = folder / FOLDER, VISITS * len(candidates), 0
    try:
        for key in dict.fromkeys(keys[digest] for digest in candidates):
            own = [one for digest, one in candidates.items() if keys[digest] == key]
            with open_table(key, root) as writer:
                for done in _time(writer, own, space, runner):
                    on_done(before + done, wanted)
            before += VISITS * len(own)
    finally:
        _tidy(root)


def _time(
    writer: TableWriter, candidates: Sequence[Candidate], space: str, runner: Runner
) -> Iterator[int]:
    """Times what the table lacks; yields how many timings of it are done."""
    work = lacking(writer.table, candidates)
    done = VISITS * len(candidates) - len(work)
    yield done
    if not len(work):
        return
    for _ in time_networks(writer, runner, space, work):
        done += 1
        yield done


def _tidy(root: Path) -> None:
    """Takes the folder away where nothing came to stand in it."""
    if root.exists() and not any(root.rglob("*.jsonl")):
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        root.rmdir()


def is_timed(folder: Path, pareto: ParetoFile) -> bool:
    """Whether a point of the front, or a runner-up, was timed for the run."""
    keys = keys_of(pareto)
    tables = _tables(folder, keys)
    return any(key in tables and digest in tables[key].networks for digest, key in keys.items())


def _tables(folder: Path, keys: Mapping[str, TableKey]) -> dict[TableKey, Table]:
    """What was timed in each way; none of a way in which nothing was."""
    return {
        key: read_table(key, folder / FOLDER)
        for key in dict.fromkeys(keys.values())
        if key.path(folder / FOLDER).exists()
    }


def conclude_verification(
    folder: Path, pareto: ParetoFile, limit_ms: float | None, root: Path | None = None
) -> Verification:
    """What follows from all that was timed for the run; VerifyError where that is nothing.

    root  where latency tables lie, as everywhere
    """
    keys = keys_of(pareto)
    tables = _tables(folder, keys)
    own_times = {key: read_times(table) for key, table in tables.items()}
    times = {
        digest: own_times[key][digest]
        for digest, key in keys.items()
        if digest in own_times.get(key, ())
    }
    failures = {
        digest: tables[key].failures.get(f"network {digest}", "")
        for digest, key in keys.items()
        if key in tables
    }
    known = list(times.values())
    if not known:
        reasons = [reason for table in tables.values() for reason in table.failures.values()]
        reason = next(iter(reasons), "nothing was timed")
        raise VerifyError(str(folder), "the board runs a model of the front", reason)
    drift = session_drift(known)
    corrections: dict[str | None, ResidualCorrection] = {}
    for way in dict.fromkeys(row.way for row in pareto.rows):
        own = [row for row in pareto.rows if row.way == way and row.digest in times]
        corrections[way] = correct_by_residuals(
            [_predicted(row) for row in own], [times[row.digest].ms for row in own]
        )
    freedom = max(sum(one.rings - 1 for one in known), 3)
    on_front = {row.digest for row in pareto.front}
    points = tuple(
        _point(row, times.get(row.digest), corrections[row.way], drift, freedom, limit_ms,
               others_ms=tuple(row.boards[name].latency_ms for name in pareto.weighed),
               is_on_front=row.digest in on_front,
               failure=failures.get(row.digest, ""))
        for row in pareto.rows
    )  # fmt: skip
    front = _final(points, limit_ms)
    timed_keys = list(dict.fromkeys(keys[digest] for digest in times))
    paces = [_pace(tables[key], key, root) for key in timed_keys]
    return Verification(
        environment=tables[timed_keys[-1]].environments[-1],
        points=points,
        corrections=corrections,
        drift=drift,
        pace=next((pace for pace in paces if pace is not None), None),
        limit_ms=limit_ms,
        front=front,
        changes=_changes(points, front, limit_ms),
    )


def _pace(table: Table, key: TableKey, root: Path | None) -> float | None:
    """Against the measured table of the key, where there is one that can be read."""
    if not key.path(root).exists():
        return None
    try:
        return session_pace(table, read_table(key, root))
    except TableError:
        return None  # a table that can't be read tells nothing here; a search says so


def _predicted(row: FrontRow) -> Interval90:
    return Interval90(ms=row.latency_ms, low_ms=row.latency_low_ms, high_ms=row.latency_high_ms)


def _point(
    row: FrontRow,
    time: NetworkTime | None,
    correction: ResidualCorrection,
    drift: float,
    freedom: int,
    limit_ms: float | None,
    *,
    others_ms: tuple[float, ...],
    is_on_front: bool,
    failure: str,
) -> VerifiedPoint:
    corrected = correction.corrected(_predicted(row))
    keeps = None
    if limit_ms is not None and time is not None:
        # Another session would differ by the drift, the samples of this one by their error.
        keeps = keeps_limit(time.ms, float(np.hypot(time.error, drift)), limit_ms, freedom)
    elif limit_ms is not None:
        keeps = keeps_limit(corrected.ms, corrected.half / NORMAL_90, limit_ms)
    return VerifiedPoint(
        row=row,
        is_on_front=is_on_front,
        time=time,
        corrected=corrected,
        keeps_limit=keeps,
        others_ms=others_ms,
        failure=failure,
    )


def _final(points: Sequence[VerifiedPoint], limit_ms: float | None) -> tuple[VerifiedPoint, ...]:
    """The front of what keeps the limit, by measured latency where there is one."""
    within = [p for p in points if not p.failure and (limit_ms is None or p.ms <= limit_ms)]
    kept = non_dominated([p.each_ms for p in within], [p.row.score for p in within])
    return tuple(within[int(i)] for i in kept)


def _changes(
    points: Sequence[VerifiedPoint], front: Sequence[VerifiedPoint], limit_ms: float | None
) -> tuple[FrontChange, ...]:
    final = {point.row.digest for point in front}
    found = []
    for point in points:
        if point.is_on_front and point.row.digest not in final:
            why = _why_left(point, front, limit_ms)
            found.append(FrontChange(name=point.row.name, way="left", why=why))
        elif not point.is_on_front and point.row.digest in final:
            why = f"{point.ms:.4g} ms ({point.kind}), predicted {point.row.latency_ms:.4g}"
            found.append(FrontChange(name=point.row.name, way="entered", why=why))
    return tuple(found)


def _why_left(point: VerifiedPoint, front: Sequence[VerifiedPoint], limit_ms: float | None) -> str:
    if point.failure:
        return f"the runtime objects to it: {point.failure}"
    told = f"{point.ms:.4g} ms ({point.kind}), predicted {point.row.latency_ms:.4g}"
    if limit_ms is not None and point.ms > limit_ms:
        return f"{told}: over the limit of {limit_ms:g} ms"
    as_fast = [p for p in front if is_as_fast(p.each_ms, point.each_ms)]
    better = max(as_fast, key=lambda p: p.row.score)
    return f"{told}: {better.row.name} is faster and scores {better.row.score:.4f}"


def words_of_verification(found: Verification) -> list[str]:
    """What a reader should know, a sentence each."""
    errors = np.abs(found.errors)
    board = found.environment.get("board") or found.environment.get("system", "the board")
    lines = [
        f"{len(found.measured)} networks timed on {board}:"
        f" predictions are off by {errors.mean():.1%} (MAPE), at worst by {errors.max():.1%}."
    ]
    if found.pace is not None and abs(found.pace - 1) >= TELLING:
        at_pace = [p.row.latency_ms * found.pace / p.ms - 1 for p in found.measured]
        slower = "slower" if found.pace > 1 else "faster"
        lines.append(
            f"The gauges say that the board was {slower} than when its table was made: they took"
            f" {found.pace:.3f} times as long. At that pace predictions are off by"
            f" {np.abs(at_pace).mean():.1%}."
        )
    if found.limit_ms is not None:
        lines.append(
            f"{len(found.far_over)} of the front's points are over the limit of"
            f" {found.limit_ms:g} ms by more than {OVER:.0%}."
        )
    lines += [_words_of_correction(one, way) for way, one in found.corrections.items()]
    lines += [
        f"{change.name} {change.way} the front: {change.why}." for change in found.changes
    ] or ["No point left the front, and none entered it."]
    lines.append(
        f"Two rings of one network differ by {found.drift:.1%} (standard deviation): no figure"
        " here is surer than that."
    )
    doubts = [(p.row.name, p.time.doubts()) for p in found.measured if p.time is not None]
    doubtful = [(name, own) for name, own in doubts if own]
    if doubtful:
        name, own = max(doubtful, key=lambda pair: len(pair[1]))
        lines.append(
            f"{len(doubtful)} of {len(doubts)} times are doubtful, for example that of {name}:"
            f" {'; '.join(own)}. (All of them stand in pareto.json.)"
        )
    return lines


def _words_of_correction(one: ResidualCorrection, way: str | None) -> str:
    run = "this run" if way is None else f"what runs as {way}"
    are = "Predictions" if way is None else f"Predictions of {run}"
    if one.before is None or one.after is None:
        return f"{are} are not corrected: {one.count} networks can't tell whether that helps."
    told = f"each left out in turn, {one.before:.1%} before and {one.after:.1%} after"
    if one.is_applied:
        return f"Predictions of {run} are multiplied by {one.factor:.4f}: {told}."
    return f"{are} are not corrected (by {one.found:.4f}): it would not help: {told}."
