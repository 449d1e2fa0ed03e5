"""Tells how well a search's score ranked detectors, on its own data: some are taught to the end.

    python -m nas.audit runs/NAME
    python -m nas.audit runs/NAME --count 12 --band 20 30

It prints Kendall's tau and the regret of the score, of MACs, of latency and of image size alone,
each with its interval, and leaves runs/NAME/audit.json. The same command goes on after a kill.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nas import NasError
from nas.terminal import command_line, say, show_table

if TYPE_CHECKING:
    from rich.table import Table

    from nas.data.dataset import DataConfig
    from nas.space.search_space import SearchSpace
    from nas.study.after.audit import Audit
    from nas.study.on_disk.record import Record
    from nas.study.on_disk.run import Run, Settings
    from nas.study.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach some of a run's architectures to the end, and tell how well its score ranked them."""

    run: Annotated[Path, tyro.conf.Positional]
    """The folder of a run of nas.search."""
    count: int = 8
    """Architectures that are taught; a quarter of them under a second seed too."""
    band: tuple[float, float] | None = None
    """Bounds in ms of the latencies; by default around the architecture of the best score."""
    data: str | None = None
    """The data of the run, where it lies elsewhere now."""
    storage: str | None = None
    """The run's --storage, where it has a password."""
    json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print one JSON document to stdout."""


def run(arguments: Arguments) -> None:
    """Reads and checks everything, teaches, and prints what it found."""
    import optuna

    from nas.study.on_disk.claim import claimed
    from nas.study.on_disk.run import open_run, read_settings

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check(arguments)
    settings = read_settings(arguments.run)
    space, data = read_space_of(settings), read_data_of(settings, arguments.data)
    storage = arguments.storage
    if storage is None and settings.storage != "study.db":
        storage = settings.storage
    with open_run(arguments.run, settings) as opened, claimed(opened, storage) as record:
        audit = conduct(arguments, opened, record, space, data)
    report(audit, arguments)


def check(arguments: Arguments) -> None:
    """NasError for numbers that make no sense."""
    from nas.study.after.audit import LEAST

    band = arguments.band
    rules = {
        "--count": (
            arguments.count >= LEAST,
            f"an order is told of at least {LEAST} architectures",
            arguments.count,
        ),
        "--band": (
            band is None or 0 < band[0] < band[1],
            "the bounds are milliseconds above 0, the lower one first",
            band,
        ),
    }
    for flag, (holds, rule, got) in rules.items():
        if not holds:
            raise NasError(flag, rule, str(got))


def read_space_of(settings: Settings) -> SearchSpace:
    """The run's space. NasError where it is not as it was."""
    from nas.space.search_space import read_space

    space = read_space(settings.space.where or settings.space.name)
    if space.digest != settings.space.digest:
        raise NasError(
            f"space {settings.space.name}",
            f"an audit is of the space that was searched (digest {settings.space.digest})",
            f"another one ({space.digest})",
            "Put the file back as it was",
        )
    return space


def read_data_of(settings: Settings, asked: str | None) -> DataConfig:
    """The run's data. NasError where it has changed since, or is not known."""
    from nas.data.dataset import check_gradable, read_data

    where = asked or settings.data.where
    if where is None:
        raise NasError(
            "--data",
            "the run says where its data lies",
            "one that was begun before this was kept",
            "Give its data.yaml as --data",
        )
    data = read_data(where)
    if data.digest != settings.data.digest:
        raise NasError(
            f"data {where}",
            f"an audit is on the data that was searched on (digest {settings.data.digest})",
            f"data that has changed ({data.digest})",
            "Put it back as it was, or search again on what it is now with another --run",
        )
    check_gradable(data)
    return data


def conduct(
    arguments: Arguments, opened: Run, record: Record, space: SearchSpace, data: DataConfig
) -> Audit:
    """Draws the architectures, teaches them in a process for each core, and concludes."""
    import functools

    from rich.console import Console

    from nas.accuracy import Finish, build_teacher, prepare_proxy, start_of, worker_count
    from nas.report.display import Display
    from nas.study.after import audit
    from nas.study.after.picks import FOLDER, teach_all
    from nas.study.candidates import Candidates
    from nas.study.workers import Workers

    settings = opened.settings
    candidates = Candidates(
        space=space, num_classes=data.num_classes, anchors=settings.data.anchors
    )
    trials = audit.graded_trials(record, candidates)
    if len(trials) < audit.LEAST:
        raise audit.AuditError(
            str(opened.folder),
            f"a run that is audited has graded at least {audit.LEAST} architectures",
            f"{len(trials)}",
            "Go on with the search first",
        )
    band_ms = arguments.band or audit.choose_band(trials, arguments.count)
    chosen = audit.choose_audited(trials, band_ms, arguments.count, settings.seed)
    tell(chosen, trials, band_ms)
    finish, start = settings.proxy.finish or Finish(), start_of(settings.proxy)
    prepared = prepare_proxy(
        settings.proxy, data, space, candidates.build, settings.seed, opened.folder
    )
    make = functools.partial(build_teacher, settings.proxy, data, opened.folder / FOLDER, prepared)
    jobs = audit.wanted(chosen, settings.seed)
    with (
        Workers(make, worker_count(settings.proxy)) as teachers,
        Display(Console(stderr=True)) as display,
    ):
        scores = teach_all(
            [(trial.candidate, seed) for trial, seed in jobs], finish,
            start=start, run=opened.folder, record=record, teacher=teachers,
            on_done=display.step("architectures taught to the end"),
        )  # fmt: skip
    return audit.conclude(chosen, band_ms, scores, settings.seed)


def tell(chosen: list[Trial], trials: list[Trial], band_ms: tuple[float, float]) -> None:
    """What will be taught."""
    low, high = band_ms
    inside = sum(low <= trial.latency.ms <= high for trial in trials)
    kind = chosen[0].latency.kind.value
    say(
        f"{len(chosen)} of the {inside} graded architectures of {low:.3g} to {high:.3g} ms"
        f" ({kind}) are taught to the end, a quarter of them twice"
    )


def report(audit: Audit, arguments: Arguments) -> None:
    """Writes audit.json, and prints the table and the sentences, or the document."""
    from nas.files import write_whole, writing
    from nas.study.after.audit import FILE, to_file, words

    text = to_file(audit).model_dump_json(indent=2) + "\n"
    with writing(arguments.run):
        write_whole(arguments.run / FILE, text)
    if arguments.json:
        print(text, end="")
        return
    show_table(table_of(audit))
    for line in words(audit):
        print(line)
    print(f"{arguments.run / FILE}")


def table_of(audit: Audit) -> Table:
    """Tau and regret of each way of ranking."""
    from rich.table import Table

    low, high = audit.band_ms
    table = Table(
        title=f"{len(audit.audited)} architectures of {low:.3g} to {high:.3g} ms, taught",
        caption="tau: 1 is the right order, 0 a random one. Regret: mAP50-95 that the first pick"
        " falls short of the best. Each with its 90 % interval.",
        title_justify="left",
    )
    table.add_column("ranked by")
    table.add_column("tau", justify="right", no_wrap=True)
    table.add_column("regret", justify="right", no_wrap=True)
    for one in audit.judgements:
        table.add_row(one.name, str(one.tau), str(one.regrets[1]))
    return table


if __name__ == "__main__":
    command_line(Arguments, run)
