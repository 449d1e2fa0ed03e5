"""Boards: `latency_tables/<device>/device.yaml`, and the key under which times are comparable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas import NasError
from nas.latency.text import read_text

ROOT: Final = Path(__file__).resolve().parents[2] / "latency_tables"
"""Where device folders lie."""

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

    def path(self, root: Path = ROOT) -> Path:
        """The table's file."""
        return root / self.device / f"{self.stem}.jsonl"

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"{self.device}, {self.runtime} {self.precision}, {self.threads} thread{plural}"


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


def read_devices(root: Path = ROOT) -> tuple[Device, ...]:
    """Every device that has a file, by name."""
    return tuple(read_device(path.parent.name, root) for path in sorted(root.glob("*/device.yaml")))


def read_device(name: str, root: Path = ROOT) -> Device:
    """The device of that name; DeviceError where its file is missing or breaks a rule."""
    path = root / name / "device.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.parent.name for found in root.glob("*/device.yaml")))
        raise DeviceError(
            "--device",
            "the device has a file latency_tables/<device>/device.yaml",
            f"'{name}', and no {path}",
            f"Known here: {known or 'none'}. A new board needs a file of ten lines "
            "(docs/boards.md, Another board)",
        )
    try:
        document = yaml.safe_load(read_text(path, "the device's file", DeviceError))
        return Device.model_validate({**_mapping(document, path), "name": name})
    except (yaml.YAMLError, RecursionError) as error:
        raise DeviceError(
            str(path), "the file is plain YAML", " ".join(str(error).split())
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DeviceError(f"{path}, {field}", first["msg"], repr(first["input"])) from None


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
