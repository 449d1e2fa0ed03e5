"""A board behind `--device`, and behind its colons how it runs there."""

from __future__ import annotations

import pytest

from nas import NasError
from nas.latency.way import Way, read_ways

OWN = Way(text="", device="", runtime="ncnn", precision="fp16", threads=None)


def _told(*texts: str) -> dict[str, tuple[str, str, str, int | None]]:
    ways = read_ways(texts, OWN)
    return {
        name: (one.device, one.runtime, one.precision, one.threads) for name, one in ways.items()
    }


def test_what_is_left_out_is_the_searchs() -> None:
    assert _told("rpi4") == {"rpi4": ("rpi4", "ncnn", "fp16", None)}
    assert _told("rpi4", "rpi5", "pi3:int8") == {
        "rpi4": ("rpi4", "ncnn", "fp16", None),
        "rpi5": ("rpi5", "ncnn", "fp16", None),
        "pi3": ("pi3", "ncnn", "int8", None),
    }


def test_parts_come_in_any_order_and_name_a_board_that_is_named_again() -> None:
    assert _told("rpi4", "rpi4:int8", "rpi4:1:onnxruntime", "rpi4:onnxruntime:fp32:2") == {
        "rpi4": ("rpi4", "ncnn", "fp16", None),
        "rpi4-int8": ("rpi4", "ncnn", "int8", None),
        "rpi4-1-onnxruntime": ("rpi4", "onnxruntime", "fp16", 1),
        "rpi4-onnxruntime-fp32-2": ("rpi4", "onnxruntime", "fp32", 2),
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("rpi4:int8",), r"--device rpi4:int8: the first board has .*; got int8\. Say it by"),
        (("rpi4", "rpi5", "rpi5"), "--device rpi5: each board is named once; got a second time"),
        (("rpi4", "rpi4:fp16"), "each board is named once; got a second time"),
        (("rpi4", "rpi4:1:int8", "rpi4:int8:1"), "each board is named once; got a second time"),
        (("rpi4", "rpi5:int9"), r"a runtime \(ncnn, onnxruntime, tflite\), .*; got 'int9'"),
        (("rpi4", "rpi5:"), "a number of threads, each after a colon; got ''"),
        (("rpi4", "rpi5:0"), "got '0'"),
        (("rpi4", "rpi5:\u00b2"), "a number of threads"),
        (("rpi4", "rpi5:int8:fp32"), "a board has one precision; got a second one, fp32"),
        (("rpi4", "rpi5:1:2"), "a board has one number of threads; got a second one, 2"),
    ],
)
def test_anything_else_gets_one_message(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(NasError, match=message):
        read_ways(texts, OWN)
