"""Searches a space for detectors on the front of accuracy and latency, for one board and data set.

    python -m nas.search --budget 200 --data my.yaml --max-latency-ms 40
    python -m nas.search --budget 200 --data my.yaml --device host

Optuna proposes architectures; one that is over the limit is never trained, one that was seen
before costs nothing; the others are graded by a proxy. All of it is kept in runs/<run>/, where
the same command resumes. Latencies are those of a Raspberry Pi 4, estimated, until another
--device is named, or a measured table is made by python -m nas.profile.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import tyro
import yaml

from nas import NasError
from nas.files import write_whole
from nas.terminal import command_line, duration_words, run_folder, say, seconds, show_table

if TYPE_CHECKING:
    from distributed import Client

    from nas.accuracy import AnyProxy
    from nas.data.dataset import DataConfig
    from nas.latency.answer import TableModel
    from nas.latency.device import Device, TableKey
    from nas.latency.reach.runner import Runner
    from nas.latency.verified.residuals import ResidualCorrection
    from nas.latency.way import Way
    from nas.report.display import Display
    from nas.space.search_space import Candidate, SearchSpace
    from nas.study.after.verification import Verification
    from nas.study.cluster.grader import ClusterGrader
    from nas.study.findings import Findings
    from nas.study.on_disk.record import Record
    from nas.study.on_disk.run import Run, Settings
    from nas.study.on_disk.warm_start import EarlierRun
    from nas.study.workers import Workers


ENOUGH_STEPS: Final = 20
"""Of shared weights, after which it can be told how long they will take."""

BOARD: Final = "rpi4"
"""Whose latency counts where none is named."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Search for detectors on the accuracy/latency front; the same command resumes."""

    budget: int = 200
    """Distinct architectures to grade."""
    time_limit: str = ""
    """For example 20m, 90s or 1h: what the run may take on the clock, shared weights, finalists and
    taught picks included; --budget still bounds the number. --verify comes after it."""
    space: str = "fused_mbconv"
    """A search space: a YAML file, or the name of one in search_spaces/."""
    data: str = "shapes"
    """A YOLO data.yaml, or `shapes`, the built-in drawn data set."""
    image_size: Literal["auto"] | None = None
    """auto: in the place of each square of the space the least rectangle of that longer side that
    suits the data's pictures. By default the space's own sizes."""
    device: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """The board whose latency counts (default: rpi4): a folder of latency_tables/ with a table,
    measured by nas.profile or estimated; `host` is this machine. Given again, the latency there
    counts as well: the front is of both, or there is a limit instead: --device rpi4 --device
    rpi5:fp16 --limit "rpi5_ms <= 20".
    Behind colons stand runtime, precision and threads that are not the search's:
    --device rpi4:int8:1."""
    runtime: Annotated[
        tuple[Literal["ncnn", "onnxruntime", "tflite"], ...], tyro.conf.UseAppendAction
    ] = ()
    """The runtime of the latency table (default: ncnn); tflite is estimated, never measured. This
    and the next two may be given again, as choices: each detector runs as it is fastest."""
    precision: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Its number format (default: fp32)."""
    threads: Annotated[tuple[int, ...], tyro.conf.UseAppendAction] = ()
    """Its number of threads (default: the device's own, 4 on a Pi and 1 on host)."""
    max_latency_ms: float | None = None
    """Candidates whose latency by the table is above this are never trained."""
    limit: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What else candidates may have at most, never trained above it: "params <= 2e6",
    "macs <= 3e8", "file_mb <= 4" (ncnn files), "memory_mb <= 64" (what ncnn allocates). May be
    given several times."""
    proxy: str | None = None
    """What grades: shared_weights, one network taught for all candidates; short_training; macs and
    naswot, which train nothing; fake, for trying things out; or a YAML with a `kind`. By default
    shared_weights, or short_training where the space's candidates can't share weights."""
    pretrained: str | None = None
    """What the proxy's candidates are cut from: starter, lite2, none, or a file as nas.train reads
    it. By default the proxy's own, which is starter."""
    sampler: Literal["surrogate", "tpe", "nsgaii", "random"] = "surrogate"
    """What proposes architectures: a Gaussian process over a pool whose latency is known, or one of
    Optuna's."""
    warm_start: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An earlier run, by name or folder, of any data and board: what it learnt is a prior, held
    against this run's own scores, and three of its front are asked first. May be given several
    times."""
    seed: int = 0
    """Of the sampler, the trainings and everything else that is drawn."""
    run: str | None = None
    """The run's name, or its folder; by default from the other flags, so that they resume it."""
    storage: str | None = None
    """Where Optuna keeps the study, instead of study.db in the run's folder: a database URL, or
    journal:PATH for a file on a network drive."""
    baselines: bool = True
    """Without: leave hand-designed detectors and the plain grid out of the report, ungraded."""
    verify: bool = False
    """At the end, time the front on the device, correct the predictions by what was found, and
    consider once what they then bring under the limit; python -m nas.verify says more."""
    host: str = ""
    """Where --verify logs in to the board, as ssh takes it (default: here, or where its file
    says)."""
    cluster: str | None = None
    """A Dask scheduler whose workers grade instead of processes here, tls://HOST:8786; without TLS
    on this machine alone, tcp://127.0.0.1:8786."""

    @property
    def boards(self) -> dict[str, Way]:
        """Every board and how it runs there by a short name, the one whose latency counts first.

        NasError for one that is named twice, and for the first with a way of its own.
        """
        from nas.latency.way import Way, read_ways

        own = Way(
            text="", device="", runtime=self.runtimes[0], precision=self.precisions[0],
            threads=self.thread_counts[0],
        )  # fmt: skip
        return read_ways(self.device or (BOARD,), own)

    @property
    def runtimes(self) -> Sequence[str]:
        """The choices of runtime."""
        return self.runtime or ("ncnn",)

    @property
    def precisions(self) -> Sequence[str]:
        """The choices of precision."""
        return self.precision or ("fp32",)

    @property
    def thread_counts(self) -> Sequence[int | None]:
        """The choices of threads; None is the board's own number."""
        return self.threads or (None,)

    def keys(self, device: Device) -> list[TableKey]:
        """Every way to run on the board whose latency counts, each once, as the tables know it."""
        combined = product(self.runtimes, self.precisions, self.thread_counts)
        return list(dict.fromkeys(device.key(*one) for one in combined))

    @property
    def limits(self) -> dict[str, float]:
        """What each --limit says, by name; NasError for a bad one."""
        from nas.study.limits import read_limits

        return read_limits(self.limit, list(self.boards)[1:])


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """When the command was begun, on the monotonic clock, and the seconds that the run may take."""

    begin_s: float
    limit_s: float | None


def run(arguments: Arguments) -> None:
    """Reads and checks everything, searches, grades the finalists again, and reports."""
    import optuna

    from nas.accuracy import LearningSettings, check_proxy
    from nas.data.dataset import check_gradable, read_data
    from nas.latency.device import read_device
    from nas.latency.fastest import FastestModel
    from nas.latency.load import answered_keys, load_table_model
    from nas.space.search_space import read_space
    from nas.study.feasible import find_within
    from nas.study.limits import BOARD as BOARD_LIMIT
    from nas.study.limits import limits_of
    from nas.study.on_disk.claim import claimed
    from nas.study.on_disk.folder import check_folder
    from nas.study.on_disk.run import open_run

    begin_s = time.monotonic()
    limit_s = seconds(arguments.time_limit) if arguments.time_limit else None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check(arguments)
    ways = arguments.boards
    limits = arguments.limits
    if arguments.run is not None:
        check_folder(run_folder(arguments.run))
    space = read_space(arguments.space)
    asked, is_default = proxy_of(arguments, space)
    proxy = with_pretrained(asked, arguments.pretrained)
    if not is_default:
        check_proxy(proxy, space)
    data = read_data(arguments.data)
    for tally in data.tallies:
        say(f"{data.name}, {tally}")
    if isinstance(proxy, LearningSettings):
        check_gradable(data)
    device, *_ = (read_device(way.device) for way in ways.values())
    own_sizes = space
    if arguments.image_size is not None:
        space = suited_space(space, data)
    asked_keys = arguments.keys(device)
    keys = answered_keys(asked_keys)
    for key in asked_keys:
        if key not in keys:
            say(f"no choice, since there is no table of it: {key}")
    folder = folder_of(arguments, space, data, device, is_default_proxy=is_default)
    if space is not own_sizes:
        space.where = str((folder / f"{space.name}.yaml").resolve())
    tables = [load_table_model(key, space=space, num_classes=data.num_classes) for key in keys]
    boards = {
        name: load_table_model(
            read_device(way.device).key(way.runtime, way.precision, way.threads),
            space=space, num_classes=data.num_classes,
        )
        for name, way in list(ways.items())[1:]
    }  # fmt: skip
    # A board that has no limit is weighed: the front is of the latency there, too.
    weighed = [name for name in boards if name + BOARD_LIMIT not in limits]
    predictor: TableModel = tables[0]
    if len(tables) > 1 or weighed:
        predictor = FastestModel(tables, [boards[name] for name in weighed])
    for name, model in {device.name: predictor, **boards}.items():
        for doubt in model.provenance["doubts"]:
            say(f"latency table{f' of {name}' if boards else ''}: {doubt}")
    runner = runner_of(arguments, device, keys) if arguments.verify else None
    check_folder(folder)
    if space is not own_sizes:
        tell_saved(own_sizes, space, data, predictor)
    within = None
    if arguments.max_latency_ms is not None or limits:
        # Before anything is written: a limit that can't be met is a mistake, not a long search.
        within = find_within(
            space, data.num_classes, predictor, arguments.max_latency_ms, arguments.seed,
            limits_of(limits, keys[0].precision, boards, predictor),
        )  # fmt: skip
    warm_start, read = earlier_runs(arguments, folder, space, data, proxy)
    settings = settings_of(
        arguments, folder, space, data, tables, boards, weighed, proxy, warm_start
    )
    with (
        cluster_of(arguments, proxy) as client,
        open_run(folder, settings) as opened,
        claimed(opened, arguments.storage) as record,
    ):
        if space is not own_sizes:
            write_whole(Path(space.where), yaml.safe_dump(space.document(), sort_keys=False))
        if opened.settings.budget > arguments.budget:
            say(f"--budget {arguments.budget}: the run was begun for {opened.settings.budget}")
        allowance = Allowance(begin_s=begin_s, limit_s=limit_s)
        report = search(
            opened, record, space, data, predictor, boards, within, runner, client, read, allowance
        )
        show(report, folder)


@contextmanager
def cluster_of(arguments: Arguments, proxy: AnyProxy) -> Iterator[Client | None]:
    """The scheduler that --cluster names, reached and with a worker that fits; None without."""
    if arguments.cluster is None:
        yield None
        return
    from nas.study.cluster.connection import connected

    with connected(arguments.cluster) as client:
        import functools

        from nas.study.cluster.grader import check_workers
        from nas.study.cluster.kit import traits

        check_workers(client, functools.partial(traits, proxy))
        yield client


def runner_of(arguments: Arguments, device: Device, keys: Sequence[TableKey]) -> Runner:
    """What will time the front. NasError, before anything is searched, where nothing can.

    keys   in which ways
    """
    from nas.latency.reach.choice import check_reached, runner_for
    from nas.study.after.verification import check_timed

    runner = runner_for(device, arguments.host or None, say)
    for key in keys:
        check_timed(key, device)
        check_reached(runner, key)
    return runner


def check(arguments: Arguments) -> None:
    """NasError for a number that makes no sense."""
    rules = {
        "--budget": (arguments.budget >= 1, "the budget is at least 1", arguments.budget),
        "--threads": (
            all(threads >= 1 for threads in arguments.threads),
            "there is at least 1 thread",
            min(arguments.threads, default=None),
        ),
        # Trainings multiply it, and torch counts to 2**64.
        "--seed": (0 <= arguments.seed < 2**32, "the seed is 0 to 2**32 - 1", arguments.seed),
        "--storage": (
            arguments.storage is None or arguments.storage.strip() != "",
            "the storage is a database URL, or journal:PATH",
            repr(arguments.storage),
        ),
        "--host": (
            not arguments.host or arguments.verify,
            "a search logs in to a board for --verify alone",
            arguments.host,
        ),
        "--max-latency-ms": (
            arguments.max_latency_ms is None or 0 < arguments.max_latency_ms < math.inf,
            "the limit is a number of milliseconds above 0",
            arguments.max_latency_ms,
        ),
    }
    for flag, (holds, rule, got) in rules.items():
        if not holds:
            raise NasError(flag, rule, str(got))
    if arguments.cluster is not None:
        from nas.study.cluster.connection import check_address

        check_address(arguments.cluster)


def with_pretrained(proxy: AnyProxy, asked: str | None) -> AnyProxy:
    """The proxy with what --pretrained says. NasError where it trains nothing, or for a bad file.

    A file is kept by its whole path, since a run may be resumed from another folder.
    """
    from nas.accuracy import LearningSettings
    from nas.places import NAMED, seed_name

    if not isinstance(proxy, LearningSettings):
        if asked is not None:
            raise NasError("--pretrained", "the proxy trains its candidates", "one that does not")
        return proxy
    named = proxy.pretrained if asked is None else asked
    if named not in (*NAMED, "none"):
        from nas.detector.pretrained.load import load_seed

        load_seed(named)  # torch is loaded for a file alone, which must be one
    return proxy.model_copy(update={"pretrained": seed_name(named)})


def seed_digest(proxy: AnyProxy) -> str | None:
    """16 digits of the SHA-256 of the weights that candidates are cut from. NasError without."""
    from nas.accuracy import LearningSettings
    from nas.places import weights_digest

    return weights_digest(proxy.pretrained) if isinstance(proxy, LearningSettings) else None


def suited_space(space: SearchSpace, data: DataConfig) -> SearchSpace:
    """The space with a rectangle for each of its squares that one suits better."""
    from nas.data.common_shape import picture_sizes, suiting
    from nas.space.image_size import read_image_size
    from nas.space.search_space import with_sizes

    pictures = picture_sizes(data)
    own = [read_image_size(one, "image_size") for one in space.options()["image_size"]]
    choices = [suiting(pictures, one) for one in own if isinstance(one, int)]
    for choice in choices:
        say(choice.told())
    kept = [one for one in own if not isinstance(one, int)]
    if not any(choice.is_rectangle for choice in choices):
        return space
    return with_sizes(space, [*kept, *(choice.size for choice in choices)], f"{space.name}-auto")


def tell_saved(own: SearchSpace, suited: SearchSpace, data: DataConfig, model: TableModel) -> None:
    """Says what the rectangles save, on a middling detector at the largest size."""
    latencies = []
    for space in (own, suited):
        choices = {
            name: options[-1 if name == "image_size" else (len(options) - 1) // 2]
            for name, options in space.options().items()
        }
        middling = space.rebuild(choices, data.num_classes)
        latencies.append((middling.image_size, model.predict(middling.spec, middling.image_size)))
    (square, before), (size, after) = latencies
    say(
        f"a middling detector of the space takes {after.ms:.2f} ms at {size} instead of"
        f" {before.ms:.2f} at {square} ({after.kind.value}; 90 % intervals {after.low_ms:.2f} to"
        f" {after.high_ms:.2f}, and {before.low_ms:.2f} to {before.high_ms:.2f})"
    )


def proxy_of(arguments: Arguments, space: SearchSpace) -> tuple[AnyProxy, bool]:
    """The proxy that --proxy names, and whether it is the one that is taken without the flag."""
    from nas.accuracy import (
        SharedWeightsSettings,
        ShortTrainingSettings,
        default_proxy,
        read_proxy,
    )

    if arguments.proxy is None:
        return default_proxy(space), True
    asked = read_proxy(arguments.proxy)
    if not isinstance(asked, SharedWeightsSettings | ShortTrainingSettings):
        return asked, False  # without torch
    return asked, asked == default_proxy(space)


def folder_of(
    arguments: Arguments,
    space: SearchSpace,
    data: DataConfig,
    device: Device,
    *,
    is_default_proxy: bool,
) -> Path:
    """The run's folder: as named, or after every flag that makes another run."""
    from nas.study.limits import number_words

    if arguments.run is not None:
        return run_folder(arguments.run)
    parts = [space.name, data.name, *arguments.boards]
    keys = arguments.keys(device)
    if keys != Arguments().keys(device):
        parts.append("-or-".join(key.stem for key in keys))
    if arguments.max_latency_ms is not None:
        parts.append(f"{arguments.max_latency_ms:g}ms")
    for name, most in arguments.limits.items():
        parts.append(f"{name}{number_words(most)}")
    if arguments.proxy is not None and not is_default_proxy:
        parts.append(Path(arguments.proxy).stem)
    if arguments.pretrained is not None:
        parts.append(f"from-{Path(arguments.pretrained).stem}")
    if arguments.sampler != Arguments.sampler:
        parts.append(arguments.sampler)
    parts += [f"after-{run_folder(one).name}" for one in arguments.warm_start]
    parts.append(f"seed{arguments.seed}")
    return run_folder(re.sub(r"[^\w.-]+", "_", "-".join(parts)))


def earlier_runs(
    arguments: Arguments, folder: Path, space: SearchSpace, data: DataConfig, proxy: AnyProxy
) -> tuple[dict[str, str], dict[str, EarlierRun]]:
    """The folders that --warm-start names by the digest of what they taught, and those read now.

    What the run's folder keeps of them already is not read again: they may have changed since.
    """
    from nas.study.on_disk.run import read_settings
    from nas.study.on_disk.warm_start import kept_runs, read_earlier

    if not arguments.warm_start:
        return {}, {}
    is_begun = (folder / "settings.yaml").exists()
    before = read_settings(folder).warm_start if is_begun else {}
    kept = {before[digest]: digest for digest in kept_runs(folder) if digest in before}
    digests: dict[str, str] = {}
    read: dict[str, EarlierRun] = {}
    for flag in arguments.warm_start:
        place = run_folder(flag)
        where = str(place.resolve())
        if where in kept:
            digests[kept[where]] = where
            continue
        found = read_earlier(place, space, data.num_classes, proxy, folder)
        digests[found.digest] = before.get(found.digest, where)  # which may have been moved
        read[found.digest] = found
    return digests, read


def settings_of(
    arguments: Arguments,
    folder: Path,
    space: SearchSpace,
    data: DataConfig,
    tables: Sequence[TableModel],
    boards: Mapping[str, TableModel],
    weighed: Sequence[str],
    proxy: AnyProxy,
    warm_start: dict[str, str],
) -> Settings:
    """Everything the search will run with, as settings.yaml keeps it.

    tables   of the board whose latency counts, a way to run each; boards: of the others
    weighed  which of the others' latencies are objectives as well
    """
    from nas.accuracy import IN_FLIGHT
    from nas.study.anchors import anchors_for
    from nas.study.on_disk import run as runs
    from nas.study.on_disk.folder import study_name
    from nas.study.on_disk.storage import without_password

    before = runs.read_settings(folder) if (folder / "settings.yaml").exists() else None
    is_same_data = before is not None and before.data.digest == data.digest
    if before is None or not is_same_data:
        say(f"fitting anchors to {data.name}")
    flag = arguments.space if arguments.image_size is None else space.flag
    of_tables, of_boards = (
        tuple(
            runs.LatencySettings(
                **asdict(one.key), fingerprint=runs.fingerprint(one, space), kind=one.kind
            )
            for one in models
        )
        for models in (tables, boards.values())
    )
    return runs.Settings(
        format=runs.FORMAT,
        space=runs.SpaceSettings(
            name=space.name,
            digest=space.digest,
            where=whole_path(flag),
        ),
        data=runs.DataSettings(
            name=data.name,
            digest=data.digest,
            names=data.names,
            anchors=before.data.anchors
            if before is not None and is_same_data
            else anchors_for(data, arguments.seed),
            where=whole_path(arguments.data),
        ),
        latency=of_tables[0],
        ways=of_tables[1:],
        max_latency_ms=arguments.max_latency_ms,
        limits=arguments.limits,
        boards=of_boards,
        weighed=tuple(weighed),
        proxy=proxy,
        sampler=arguments.sampler,
        seed=arguments.seed,
        # Never by the number of cores: the same seed draws the same trials on every machine.
        in_flight=proxy.in_flight or (before.in_flight if before else IN_FLIGHT),
        warm_start=warm_start,
        storage=without_password(arguments.storage or "study.db"),
        study=before.study if before else study_name(folder),
        seed_weights=seed_digest(proxy),
        baselines=arguments.baselines,
        budget=arguments.budget,
        versions=runs.versions(),
        begun=time.strftime("%Y-%m-%d %H:%M:%S %z"),
    )


def whole_path(asked: str) -> str:
    """A name, or the whole path of a file, so that it means the same in every folder."""
    return str(Path(asked).resolve()) if Path(asked).is_file() else asked


def search(
    opened: Run,
    record: Record,
    space: SearchSpace,
    data: DataConfig,
    predictor: TableModel,
    boards: Mapping[str, TableModel],
    within: Candidate | None,
    runner: Runner | None,
    client: Client | None,
    read: dict[str, EarlierRun],
    allowance: Allowance,
) -> Findings:
    """Conducts the run with a worker process for each core, or a cluster's, shown on stderr."""
    import functools

    from rich.console import Console

    from nas.accuracy import (
        build_teacher,
        prepare_proxy,
        prepared_seconds,
        worker_count,
    )
    from nas.report.display import Display
    from nas.report.files import silent_words
    from nas.study.after.picks import FOLDER
    from nas.study.candidates import Candidates
    from nas.study.conduct import conduct
    from nas.study.limits import limits_of
    from nas.study.on_disk.record import TAUGHT
    from nas.study.on_disk.warm_start import take_over
    from nas.study.time_budget import TimeBudget
    from nas.study.workers import Workers

    settings = opened.settings
    done = record.graded_count()
    if done >= settings.budget:
        say(f"{opened.folder} is finished: {done} graded; a larger --budget goes on from there")
    else:
        is_lost = not done and (opened.folder / "trials.csv").exists()
        if is_lost:
            say(f"{record.where} holds no trial of this run: it begins anew")
        is_on = done or not (opened.is_new or is_lost)
        verb = f"goes on, {done} of {settings.budget} graded," if is_on else "begins"
        say(f"{verb} in {opened.folder}")
    candidates = Candidates(
        space=space, num_classes=data.num_classes, anchors=settings.data.anchors
    )
    taken = take_over(
        opened.folder, tuple(settings.warm_start), read, candidates, predictor,
        settings.max_latency_ms,
        limits_of(settings.limits, settings.latency.precision, boards, predictor),
    )  # fmt: skip
    for one in taken:
        say(f"warm start from {one.name}: {one.words(settings.sampler)}")
    count = worker_count(settings.proxy)
    found = count if client is None else len(client.scheduler_info(n_workers=-1)["workers"])
    if found > settings.in_flight:
        say(
            f"{settings.in_flight} of {found} workers have work: the run was begun with in_flight:"
            f" {settings.in_flight}, and another number draws other trials (docs/files.md)"
        )
    before_s = record.spent_s()
    prepared = prepare_proxy(
        settings.proxy, data, space, candidates.build, settings.seed, opened.folder,
        on_step=watch_preparation(allowance, before_s),
    )  # fmt: skip
    prepared_s = prepared_seconds(settings.proxy, prepared)
    time_budget = TimeBudget(
        allowance.limit_s, proxy=settings.proxy, has_baselines=settings.baselines,
        workers=max(1, min(found, settings.in_flight)), teachers=count,
        begin_s=allowance.begin_s, before_s=before_s, prepared_core_s=prepared_s,
        keep=record.keep_spent,
        taught_s=[one.seconds for one in record.scores(TAUGHT).values()],
    )  # fmt: skip
    if time_budget.is_limited:
        say(time_budget.plan_words())
    with (
        grader_of(client, settings, data, prepared, min(count, settings.in_flight)) as grader,
        Workers(
            functools.partial(
                build_teacher, settings.proxy, data, opened.folder / FOLDER, prepared
            ),
            count,
        ) as teachers,
        Display(Console(stderr=True), functools.partial(silent_words, settings.proxy)) as display,
    ):
        return conduct(
            opened,
            candidates=candidates,
            model=predictor,
            grader=grader,
            teacher=teachers,
            record=record,
            watcher=display,
            publish=functools.partial(publish, folder=opened.folder),
            within=within,
            taken=taken,
            doubts=(
                *predictor.provenance["doubts"],
                *(
                    f"{name}: {doubt}"
                    for name, model in boards.items()
                    for doubt in model.provenance["doubts"]
                ),
            ),
            boards=boards,
            prepared_s=prepared_s,
            time_budget=time_budget,
            verify=functools.partial(verify, opened, runner, display)
            if runner is not None
            else None,
        )


def watch_preparation(allowance: Allowance, before_s: float) -> Callable[[int, int], None] | None:
    """What stops the teaching of shared weights as soon as it is seen to leave no time to search.

    Its state is kept now and then, and a larger limit goes on from there.
    """
    limit_s = allowance.limit_s
    if limit_s is None:
        return None
    first: list[tuple[int, float]] = []

    def on_step(done: int, steps: int) -> None:
        now_s = time.monotonic()
        if not first:
            first.append((done, now_s))
        begun, begun_s = first[0]
        if done - begun < ENOUGH_STEPS:
            return
        left_s = (now_s - begun_s) / (done - begun) * (steps - done)
        ends_s = before_s + now_s - allowance.begin_s + left_s
        if ends_s > limit_s:
            raise NasError(
                "--time-limit",
                "the weights that all candidates share are taught within it, and time is left",
                f"{duration_words(limit_s)}, where they would be done after"
                f" {duration_words(ends_s)}",
                "Give it twice as much, which goes on from what is taught; or --proxy"
                " short_training, which teaches nothing beforehand",
            )

    return on_step


def verify(
    opened: Run, runner: Runner, display: Display
) -> Mapping[str | None, ResidualCorrection]:
    """Times the front that was published last, writes what was found into the run's files."""
    from nas.files import writing
    from nas.study.after.verification import candidates_of_front, keys_of, time_front
    from nas.study.on_disk.pareto_file import read_pareto

    settings, folder = opened.settings, opened.folder
    with writing(folder):
        pareto = read_pareto(folder)
        candidates = candidates_of_front(folder, pareto)
        shown = display.step("timings of the front on its board")
        time_front(folder, keys_of(pareto), candidates, settings.space.digest, runner, shown)
        found = tell_measured(folder, settings)
    assert found is not None, "something was timed"
    return found.corrections


def grader_of(
    client: Client | None,
    settings: Settings,
    data: DataConfig,
    prepared: Path | None,
    count: int,
) -> Workers | ClusterGrader:
    """What grades: the workers of a cluster, or `count` processes here."""
    import functools

    from nas.accuracy import build_proxy
    from nas.study.workers import Workers

    if client is None:
        return Workers(functools.partial(build_proxy, settings.proxy, data, prepared), count)
    from nas.study.cluster.grader import ClusterGrader
    from nas.study.cluster.kit import kit_for

    return ClusterGrader(client, kit_for(settings.proxy, data, prepared))


def tell_measured(folder: Path, settings: Settings) -> Verification | None:
    """Writes what was ever timed of the run into its files; None where nothing was."""
    from nas.report.verified import write_verification
    from nas.study.after.verification import conclude_verification, is_timed
    from nas.study.after.whole_path import read_path
    from nas.study.on_disk.pareto_file import read_pareto

    pareto = read_pareto(folder)
    if not pareto.front or not is_timed(folder, pareto):
        return None
    found = conclude_verification(folder, pareto, settings.max_latency_ms)
    write_verification(found, folder, read_path(folder))
    return found


def publish(report: Findings, folder: Path) -> None:
    """Leaves what the search found in its folder: the page, the CSVs, pareto.json, the models."""
    from nas.files import writing
    from nas.report.figures import write_figure
    from nas.report.files import write_report

    with writing(folder):
        write_figure(report, folder / "pareto.html")
        write_report(report, folder)
        tell_measured(folder, report.settings)


def show(report: Findings, folder: Path) -> None:
    """Prints the front, and what to know beside it, to stdout."""
    from nas.report.files import front_table, summary_lines

    show_table(front_table(report))
    for line in summary_lines(report):
        print(line)
    for line in audit_lines(report, folder):
        print(line)
    show_measured(report, folder)
    print(f"{folder}: pareto.html, pareto.json, models/")


def show_measured(report: Findings, folder: Path) -> None:
    """Prints the front as it was measured, where it was."""
    from nas.report.verified import verification_table
    from nas.study.after.verification import words_of_verification

    found = tell_measured(folder, report.settings)
    if found is None:
        return
    show_table(verification_table(found, "the same front, measured on its board"))
    for line in words_of_verification(found):
        print(line)


def audit_lines(report: Findings, folder: Path) -> list[str]:
    """What an audit of this run has said of its score, or how to get one."""
    from nas.documents import read_json
    from nas.study.after.audit import FILE, LEAST, AuditError, AuditFile

    if (folder / FILE).exists():
        kept = read_json(folder / FILE, AuditFile, "an audit", AuditError)
        return [f"Audit: {line}" for line in kept.words]
    if len(report.ending.graded) < LEAST:
        return []
    return [
        "How well the score ranks detectors of like latency on this data was not measured:"
        f" python -m nas.audit {folder} teaches some of them to the end, and says."
    ]


if __name__ == "__main__":
    command_line(Arguments, run)
