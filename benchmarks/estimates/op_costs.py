"""What ops cost beside a 1x1 convolution, timed by themselves with ncnn on this machine.

    python benchmarks/estimates/op_costs.py

One thread, rounds over chains of eight equal ops in turn, the fastest run of each. What is printed
are ratios: how many multiply-accumulates of a 1x1 convolution take as long as one number of an op,
on a map that the caches hold. Only those ratios, and roughly, go into board_priors.py:
SIMD units of other widths shift both sides of them alike, while milliseconds of this machine say
nothing about a board.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ncnn
import numpy as np
import tyro

CHANNELS: Final = 240
SIDE: Final = 28
LENGTH: Final = 8
NUMBERS: Final = CHANNELS * SIDE * SIDE * LENGTH

OPS: Final[dict[str, str]] = {
    "copy": "Noop",
    "ReLU": "ReLU",
    "HardSwish": "HardSwish",
    "Sigmoid": "Sigmoid",
    "SiLU": "Swish",
    "normalisation (LRN)": "LRN 1=5",
    "1x1": f"Convolution 0={CHANNELS} 1=1 5=1 6={CHANNELS**2}",
    **{
        f"depthwise {k}x{k}": f"ConvolutionDepthWise 0={CHANNELS} 1={k} 4={k // 2} 5=1 "
        f"6={CHANNELS * k * k} 7={CHANNELS}"
        for k in (3, 5, 7)
    },
}
"""Op -> ncnn's layer and parameters, on one map."""

BOXES: Final = (
    "Yolov3DetectionOutput op 2 1 a b out 0=80 1=3 2={} "
    "-23304=12,10,14,23,27,37,58,81,82,135,169,344,319 "
    "-23305=6,1077936128,1082130432,1084227584,1065353216,1073741824,1077936128 -23306=2,33.6,16.8"
)
"""yolov4-tiny's last layer, of which 2 is the score that a box must pass (with maps of zeros all
have a third): none do at 0.9, all at 0.3."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time single ops."""

    rounds: int = 100
    """Over all ops; many, where the machine has other work."""


def main(arguments: Arguments) -> None:
    """The ratios, a line for each op."""
    random = np.random.default_rng(0)
    values = random.normal(size=(CHANNELS, SIDE, SIDE)).astype(np.float32)
    one = {"a": ncnn.Mat(values).clone()}
    boxes = {
        "a": ncnn.Mat(np.zeros((255, 13, 13), np.float32)).clone(),
        "b": ncnn.Mat(np.zeros((255, 26, 26), np.float32)).clone(),
    }
    nets = {name: (network(chain(text), ("a",)), one) for name, text in OPS.items()}
    for score in (0.9, 0.3):
        nets[f"boxes {score}"] = network([BOXES.format(score)], ("a", "b")), boxes
    times = dict.fromkeys(nets, np.inf)
    kept = 0
    for _ in range(arguments.rounds):
        for name, (net, inputs) in nets.items():
            ms, out = timed(net, inputs)
            times[name] = min(times[name], ms)
            kept = out.h if name == "boxes 0.3" else kept
    unit = (times["1x1"] - times["copy"]) / (NUMBERS * CHANNELS)
    for name in OPS:
        own = (times[name] - times["copy"]) / NUMBERS / unit
        kernel = int(name[-1]) ** 2 if name.startswith("depthwise") else 1
        print(f"{name}: {own / kernel:.1f} MACs of a 1x1 convolution for each number or MAC")
    scores = 255 * (13**2 + 26**2)
    pairs = 3 * (13**2 + 26**2) * kept / 2
    score = times["boxes 0.9"] / scores
    pair = (times["boxes 0.3"] - times["boxes 0.9"]) / pairs
    print(f"a score looked at: {score / unit:.0f} MACs; {kept} boxes kept")
    print(f"two boxes compared: {pair / score:.1f} scores")


def chain(text: str) -> list[str]:
    """Eight of that layer, one after the other."""
    kind, _, parameters = text.partition(" ")
    names = ["a", *(f"m{i}" for i in range(1, LENGTH)), "out"]
    return [
        f"{kind} op{i} 1 1 {names[i]} {names[i + 1]} {parameters}".rstrip() for i in range(LENGTH)
    ]


def network(layers: list[str], inputs: tuple[str, ...]) -> ncnn.Net:
    """The layers alone as a network; one thread, fp32, no weights."""
    lines = [*(f"Input {name} 0 1 {name}" for name in inputs), *layers]
    text = f"7767517\n{len(lines)} {len(lines)}\n" + "\n".join(lines) + "\n"
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "op.param"
        path.write_text(text, encoding="utf-8")
        assert net.load_param(str(path)) == 0, layers
    net.load_model(ncnn.DataReaderFromEmpty())
    return net


def timed(net: ncnn.Net, inputs: dict[str, ncnn.Mat]) -> tuple[float, ncnn.Mat]:
    """ms of one run, and what came out."""
    extractor = net.create_extractor()
    for name, values in inputs.items():
        extractor.input(name, values)
    start = time.perf_counter()
    _, out = extractor.extract("out")
    return (time.perf_counter() - start) * 1e3, out


if __name__ == "__main__":
    main(tyro.cli(Arguments))
