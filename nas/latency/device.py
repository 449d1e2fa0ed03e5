"""Boards: `latency_tables/<device>/device.yaml`, and the key under which times are comparable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas import NasError, places
from nas.documents import read_yaml

ROOT: Final = places.shipped("latency_tables")
"""The device folders that ship.

`root`, wherever it is asked for, is a folder like it that alone is looked in and written to. None:
every place, the nearest first (nas.places), so that for one device what ships, what the user has
measured and what lies in the current folder come together.
"""

DEVICE_TREE: Final = Path("/proc/device-tree")
"""Where a board says what it is, in the files `model` and `compatible`."""

FORMAT: Final = 1
"""Version of device.yaml. 1: the first; `default_threads`, which may be left out, came later."""


class DeviceError(NasError):
    """A device that has no file, a file that breaks a rule, or a key that the device lacks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableKey:
    """Where and how something was timed. Times of unlike keys never meet in one table or sum."""

    device: str
    runtime: str = "ncnn"
    precision: str = "fp32"
    threads: int = 1

    @property
    def stem(self) -> str:
        """The name of the table's files in the device's folder, without an ending."""
        return f"{self.runtime}-{self.precision}-{self.threads}t"

    @classmethod
    def of_stem(cls, device: str, stem: str) -> TableKey:
        """The key of a device whose `stem` this is. ValueError where it can be none."""
        runtime, precision, threads = stem.split("-")
        count = int(threads.removesuffix("t"))
        return cls(device=device, runtime=runtime, precision=precision, threads=count)

    def path(self, root: Path | None = None) -> Path:
        """The measured table's file: the nearest that has been fitted, else the nearest.

        So a profile that was just begun doesn't hide a whole one that lies farther.
        """
        there = self.files(".jsonl", root)
        fitted = [path for path in there if places.is_file(path.with_suffix(".fit.json"))]
        return next(iter(fitted or there), self.new_file(".jsonl", root))

    def files(self, ending: str, root: Path | None = None) -> list[Path]:
        """The table's files of that ending that are there, the nearest first."""
        found = [one / self.device / f"{self.stem}{ending}" for one in roots(root)]
        return [path for path in found if places.is_file(path)]

    def new_file(self, ending: str, root: Path | None = None) -> Path:
        """Where a new file of the table goes."""
        return new_root(root) / self.device / f"{self.stem}{ending}"

    @property
    def way(self) -> str:
        """How a detector runs on the device, in words."""
        plural = "" if self.threads == 1 else "s"
        return f"{self.runtime} {self.precision}, {self.threads} thread{plural}"

    def __str__(self) -> str:
        return f"{self.device}, {self.way}"


Runtime = Literal["ncnn", "onnxruntime"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]


class Device(BaseModel):
    """One board, as its file describes it.

    recognise     texts, one of which the board's device tree says; empty: any machine
    default_host  where to log in to it, as ssh takes it; a device with neither is this machine
    runtimes      runtime -> the precisions that make sense on its cores
    threads       thread counts worth a table; empty: any up to the machine's cores
    default_threads  of them the one that is meant where none is said
    kind          `board` is timed; `fake` answers from a formula
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1]
    name: str = ""
    title: str
    soc: str
    cores: Annotated[int, Field(ge=1)] | None = None
    clock_mhz: Annotated[int, Field(ge=1)] | None = None
    memory_mb: Annotated[int, Field(ge=1)] | None = None
    kind: Literal["board", "fake"] = "board"
    recognise: list[str] = []
    default_host: str | None = None
    runtimes: dict[Runtime, list[Precision]]
    threads: list[Annotated[int, Field(ge=1)]] = []
    default_threads: Annotated[int, Field(ge=1)] = 1

    def key(self, runtime: str, precision: str, threads: int | None = None) -> TableKey:
        """The key of a table of the device; without a thread count, with its own."""
        return TableKey(
            device=self.name,
            runtime=runtime,
            precision=precision,
            threads=self.default_threads if threads is None else threads,
        )

    def is_named_in(self, device_tree: str) -> bool:
        """Whether a machine whose device tree says this is the board."""
        return not self.recognise or any(text in device_tree for text in self.recognise)

    def has_host(self) -> bool:
        """Whether it is a board that one may log in to, and not this machine or none at all."""
        return self.kind == "board" and bool(self.recognise or self.default_host)

    def is_here(self, device_tree: Path = DEVICE_TREE) -> bool:
        """Whether this machine is the board, by what its device tree says."""
        if not self.recognise:
            return not self.has_host()
        files = [device_tree / name for name in ("model", "compatible")]
        told = " ".join(file.read_text(errors="replace") for file in files if file.exists())
        return self.is_named_in(told)


def roots(root: Path | None = None) -> tuple[Path, ...]:
    """The folders that devices are looked for in, the nearest first: `root` alone, or all."""
    return places.places("latency_tables") if root is None else (root,)


def new_root(root: Path | None = None) -> Path:
    """The folder that a new table goes to: `root`, or where what a person makes goes."""
    return places.home("latency_tables") if root is None else root


def read_devices(root: Path | None = None) -> tuple[Device, ...]:
    """Every device that has a file, by name."""
    return tuple(read_device(name, root) for name in sorted(_device_files(root)))


def read_device(name: str, root: Path | None = None) -> Device:
    """The device of that name; DeviceError where its file is missing or breaks a rule."""
    files = [one / name / "device.yaml" for one in roots(root) if places.is_name(name)]
    path = next(filter(places.is_file, files), None)
    if path is None:
        raise _unknown_device(name, root)
    document = read_yaml(path, "the device's file", DeviceError)
    try:
        return Device.model_validate({**_mapping(document, path), "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DeviceError(f"{path}, {field}", first["msg"], repr(first["input"])) from None


def _device_files(root: Path | None) -> dict[str, Path]:
    """The device.yaml of every device, by the device's name."""
    found = places.listed("latency_tables", "*/device.yaml", root).values()
    return {path.parent.name: path for path in found}


def _unknown_device(name: str, root: Path | None) -> DeviceError:
    files = _device_files(root)
    known = places.told({device: path.parents[1] for device, path in files.items()})
    like = files.get("rpi4", ROOT / "rpi4" / "device.yaml")
    return DeviceError(
        "--device",
        "the device is the name of a folder in latency_tables/ with a device.yaml",
        f"{name!r}",
        f"Known here: {known}. A new board needs a file of ten lines, here in latency_tables/NAME/"
        f" or in {new_root(root) / 'NAME'}: copy {like} and edit it "
        "(docs/boards.md, Another board)",
    )


def check_key(key: TableKey, device: Device) -> None:
    """DeviceError where the device does not offer the key's runtime, precision or threads."""
    where = f"device {device.name}"
    runtimes: dict[str, list[Precision]] = {str(k): v for k, v in device.runtimes.items()}
    if key.runtime not in runtimes:
        raise DeviceError(
            where,
            f"its runtimes are {', '.join(device.runtimes)}",
            key.runtime,
            "Choose by --runtime",
        )
    precisions = runtimes[key.runtime]
    if key.precision not in precisions:
        raise DeviceError(
            where,
            f"its precisions in {key.runtime} are {', '.join(precisions)}",
            key.precision,
            "Choose by --precision",
        )
    if device.threads and key.threads not in device.threads:
        raise DeviceError(
            where,
            f"its thread counts are {', '.join(map(str, device.threads))}",
            str(key.threads),
            "Choose by --threads",
        )
    if key.threads < 1:
        raise DeviceError("--threads", "there is at least one thread", str(key.threads))


def _mapping(document: Any, path: Path) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise DeviceError(str(path), "the file is a mapping", type(document).__name__)
    return document
