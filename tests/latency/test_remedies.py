"""A command that a message prints is one that the device takes."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from nas import NasError
from nas.latency.device import TableKey, check_key, read_device, read_devices
from nas.latency.estimated.public_log import parse_log
from nas.latency.estimated.tables import estimate_from_log
from nas.latency.load import load_table_model
from nas.latency.measured.fit_file import fit_path, read_fits
from nas.latency.measured.table import measure_remedy, missing_table
from nas.profile import Arguments
from nas.space.search_space import read_space
from tests.latency.boards import KEY, devices, profiled

KEYS = [
    TableKey(device=device.name, runtime=runtime, precision=precision, threads=threads)
    for device in read_devices()
    for runtime, precision, threads in itertools.product(
        ("ncnn", "onnxruntime", "tflite"),
        ("fp32", "fp16", "bf16", "int8", "fp8"),
        (0, 1, 2, 3, 4, 64),
    )
]


def commands(text: str) -> list[dict[str, str]]:
    """The flags of every nas.profile in a text."""
    value = r"(?:'[^']*'|[^ ;']+)"
    found = []
    for one in re.findall(rf"python -m nas\.profile((?: --[\w-]+ {value})+)", text):
        words = shlex.split(one.rstrip("."))
        found.append(dict(zip(words[::2], words[1::2], strict=True)))
    return found


def assert_taken(text: str, root: Path | None = None) -> int:
    """Every command in the text is one that nas.profile does not refuse; how many there are."""
    found = commands(text)
    for flags in found:
        more = () if root is None else (root,)
        device = read_device(flags.pop("--device"), *more)
        threads = flags.pop("--threads", None)
        key = device.key(
            flags.pop("--runtime", "ncnn"),
            flags.pop("--precision", "fp32"),
            int(threads) if threads else None,
        )
        check_key(key, device)
        host = flags.pop("--host", "")
        assert host or device.default_host or not device.has_host()
        read_space(flags.pop("--space", Arguments.space))
        assert not flags
    return len(found)


def test_no_message_about_a_key_prints_a_command_that_is_refused() -> None:
    printed = 0
    for key in KEYS:
        for text in (measure_remedy(key), str(missing_table(key))):
            printed += assert_taken(text)
        try:
            model = load_table_model(key)
        except NasError as error:
            printed += assert_taken(str(error))
        else:
            printed += assert_taken(" ".join(model.provenance["doubts"]))
    assert printed > 100


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            TableKey(device="rpi4", threads=3),
            r"its thread counts are 1, 2, 4\. Choose by --threads",
        ),
        (TableKey(device="rpi4", precision="fp16", threads=4), "its precisions in ncnn are fp32"),
        (TableKey(device="rpi4", precision="fp16", threads=3), "its precisions in ncnn are fp32"),
    ],
)
def test_a_key_that_the_device_lacks_is_told_what_there_is(key: TableKey, message: str) -> None:
    with pytest.raises(NasError, match=message):
        load_table_model(key)


def test_messages_about_a_table_print_commands_that_work(tmp_path: Path) -> None:
    root = devices(tmp_path / "tables")
    texts = []

    def told(space: str | None = None) -> None:
        try:
            model = load_table_model(KEY, root, read_space(space) if space else None)
            texts.extend(model.provenance["doubts"])
        except NasError as error:
            texts.append(str(error))

    told()
    profiled(root, detectors=8)
    told("grid")
    path = tmp_path / "my space.yaml"
    path.write_text((Path("search_spaces") / "tiny.yaml").read_text().replace("[64, 96]", "[96]"))
    told(str(path))
    with KEY.path(root).open("ab") as file:
        file.write(b'{"line":"failure","session":1,"name":"x","reason":"x"}\n')
    fits = fit_path(KEY, root).read_text()
    fit_path(KEY, root).write_text(fits.replace('"table_rows": ', '"table_rows": 1'))
    told()
    fit_path(KEY, root).write_text("{")
    told()
    with pytest.raises(NasError) as caught:
        read_fits(KEY, root)
    fit_path(KEY, root).unlink()
    told()
    printed = [assert_taken(text, root) for text in (*texts, str(caught.value))]
    assert sum(printed) >= 6, texts


def test_what_a_log_is_told_can_be_said(tmp_path: Path) -> None:
    del tmp_path
    line = "resnet18  min = 181.74  max = 183.07  avg = 182.37\n"
    runs = "".join(f"num_threads = {count}\n{line}" for count in (1, 3, 4, 8))
    offered = read_device("rpi4").threads
    for threads in (None, 2, 8):
        if threads == 8:
            continue
        with pytest.raises(NasError, match=r"Say --threads 1 or --threads 4\.$"):
            parse_log(runs, threads=threads, offered=offered)
    with pytest.raises(NasError, match="Run benchncnn 8 4 0 -1"):
        parse_log(f"num_threads = 8\n{line}", threads=4, offered=offered)
    # One of the runs is of a count that the device has: that is meant.
    log = parse_log(f"num_threads = 8\n{line}num_threads = 4\n{line}", offered=offered)
    assert log.threads == 4
    for key in KEYS:
        device = read_device(key.device)
        try:
            estimate_from_log(key, device, log, "log", "")
        except NasError as error:
            if said := re.search(r"--runtime (\w+) --precision (\w+)", str(error)):
                offered_key = replace(key, runtime=said[1], precision=said[2])
                check_key(replace(offered_key, threads=device.default_threads), device)
