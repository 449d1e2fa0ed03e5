"""How long nas.predict takes to answer, with and without what is kept of a table.

    python benchmarks/startup.py --root latency_tables --device host

For each measured table of a device, the median of some runs of the whole command: where the file
with the condensed table is missing, so that every sample is read (as it was before that file), and
where it is there; at an image size whose blocks are in the table, and at one that needs the cost
model. Seconds are the processor's, which other work on the machine changes least.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from nas.latency.cache import kept_path
from nas.latency.device import ROOT, TableKey

COMMAND = """
import sys
from pathlib import Path
from nas import predict
model, device, runtime, precision, threads, size, root = sys.argv[1:]
asked = predict.Arguments(model=Path(model), device=device, runtime=runtime, precision=precision,
                          threads=int(threads), image_size=int(size))
predict.run(asked, Path(root))
"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time nas.predict on the measured tables of a device."""

    root: Path = ROOT
    """A folder like latency_tables/; nothing is written in it."""
    device: str = "host"
    """Whose tables."""
    model: Path = ROOT.parent / "search_spaces" / "reference" / "yolov5n.yaml"
    """What is predicted."""
    runs: int = 5
    """Of each, the median counts."""


def main(arguments: Arguments) -> None:
    """A line for each table and image size."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tables"
        shutil.copytree(arguments.root / arguments.device, root / arguments.device)
        for path in sorted((root / arguments.device).glob("*.jsonl")):
            runtime, precision, threads = path.stem.split("-")
            key = TableKey(
                device=arguments.device,
                runtime=runtime,
                precision=precision,
                threads=int(threads.rstrip("t")),
            )
            for size in (288, 320):
                fresh = [
                    timed(key, arguments.model, size, root, True) for _ in range(arguments.runs)
                ]
                kept = [
                    timed(key, arguments.model, size, root, False) for _ in range(arguments.runs)
                ]
                print(
                    f"{key}, {path.stat().st_size / 1e6:.1f} MB, {size} px: "
                    f"{statistics.median(fresh):.2f} s from all samples, "
                    f"{statistics.median(kept):.2f} s from what is kept",
                    flush=True,
                )


def timed(key: TableKey, model: Path, size: int, root: Path, is_fresh: bool) -> float:
    """Seconds of the processor that one command takes, from its start to its end."""
    if is_fresh:
        kept_path(key.path(root), "condensed").unlink(missing_ok=True)
    words = [model, key.device, key.runtime, key.precision, key.threads, size, root]
    start = processor_seconds()
    subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, words)], check=True, stdout=subprocess.DEVNULL
    )
    return processor_seconds() - start


def processor_seconds() -> float:
    """What ended processes of this one have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(tyro.cli(Arguments))
