"""A run's record, opened and held: by what the run is known, and who may write to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nas import NasError
from nas.study.on_disk.folder import study_name
from nas.study.on_disk.record import Record, find_study
from nas.study.on_disk.run import Run, forget, identity, remember_study


@contextmanager
def claimed(run: Run, storage: str | None) -> Iterator[Record]:
    """The record of a run, which this search alone writes while the context lasts.

    storage  as --storage says; None for study.db in the run's folder

    StorageError where the study can't be had; a run that was new leaves nothing then.
    """
    place = storage or run.folder / "study.db"
    with ExitStack() as stack:
        try:
            mark = identity(run.settings)
            name = run.settings.study or find_study(place, study_name(run.folder), mark)
            record = Record(place, name, mark, is_begun=not run.is_new)
            stack.enter_context(record.hold(run.folder))
            if run.settings.study is None:
                remember_study(run, name)
        except (NasError, KeyboardInterrupt):
            if run.is_new:
                forget(run)
            raise
        yield record
