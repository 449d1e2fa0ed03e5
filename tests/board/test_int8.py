"""Int8 files on an emulated Raspberry Pi 4: what its core computes, and where this one departs.

An int8 pair of ncnn does not give the same maps on both, for two reasons that these tests pin down:

1. x86 divides by an approximate reciprocal (2^-12) in depthwise convolutions of its packed layout,
   so that about one number in a thousand of their int8 maps is one step off. The ARM core is exact:
   each of its int8 layers is to the last bit what whole numbers say, so the *file* means what its
   accuracy was taken for. (tests/deploy/int8 holds x86 to the same numbers, but for that layer.)
2. Without that layout both are exact in int8, but a *float* layer before one rounds otherwise
   (1e-6): where a number lies that near the middle between two steps, it falls to the other side.
   A picture without such a number has equal outputs on both cores.

ONNX Runtime's boxes are equal in most pictures, as the second reason alone would have it. The
emulation's times mean nothing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import pytest

from nas.data.drawn import parts
from nas.deploy.int8.calibration import calibrate
from nas.deploy.int8.ncnn import to_ncnn_int8
from nas.deploy.on_board import detect
from nas.deploy.weights import convolution_weights
from nas.emit.int8 import Int8Way, can_be_int8
from nas.emit.onnx import map_names
from nas.quantisation.choice import last_of_head, stem
from nas.quantisation.files import to_image
from nas.space.ops import model_graph
from tests.board.host import Sshd
from tests.board.test_detect import there
from tests.deploy.int8.reference import Array, Stored, quantise, read_layers, run_layer
from tests.deploy.int8.test_ncnn import whole_blobs
from tests.deploy.on_board import bundles
from tests.deploy.on_board.bundles import HEADS, detector_of, rgb, stray
from tests.grading.files import left, taught
from tests.grading.test_command import NAMES, SIZE, write_squares

pytestmark = [pytest.mark.board, pytest.mark.slow]

PICTURES = 32
"""On which blobs are compared."""

COUNT = 16
"""Pictures that boxes are compared on."""

ROUNDING = 2e-5
"""How far a float map may differ by the order in which its sums are taken, of its largest."""

FEW = 1e-3
"""A share of a map's numbers: several are ties at once where a picture is flat."""

EXACT = 0.05, 1e-3
"""Pixels and score that boxes differ by where maps differ by float rounding."""

NEAR = 0.5, 0.02
"""Pixels and score that boxes differ by where some int8 numbers are a step off: less than int8
itself changes them by (up to 4 pixels and 0.19 here)."""

BLOBS = """
import sys
import ncnn
import numpy as np

folder, packed, left = sys.argv[1:]
net = ncnn.Net()
net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
net.opt.use_packing_layout = packed == "packed"
assert net.load_param(folder + "/m.param") == 0 and net.load_model(folder + "/m.bin") == 0
lines = [line.split() for line in open(folder + "/m.param").read().splitlines()[2:]]
names = [n for w in lines for n in w[4 + int(w[2]) : 4 + int(w[2]) + int(w[3])] if n != "in0"]
found = {}
for number, image in enumerate(np.load(folder + "/images.npy")):
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(image).clone())
    for name in names:
        code, blob = extractor.extract(name)
        assert code == 0, name
        found["%d %s" % (number, name)] = np.array(blob, np.float32)
np.savez(left, **found)
"""
"""Leaves every blob of m.param for every image, on either machine."""


@dataclass(frozen=True)
class Pair:
    """An int8 pair, and its blobs (1, c, h, w) of every picture on three cores."""

    param: str
    layers: list[Stored]
    there: list[dict[str, Array]]
    unpacked: list[dict[str, Array]]
    packed: list[dict[str, Array]]


@pytest.fixture(scope="module")
def pair(emulated: Sshd, packages: Path) -> Pair:
    """All layers but the stem and the head's ends in int8, by each way in turn."""
    folder = emulated.folder / "home" / "pair"
    folder.mkdir()
    detector, drawn = detector_of(HEADS[3]), parts()["val"].load(bundles.SIZE, 1).images
    graph = model_graph(detector.spec, bundles.SIZE)
    weights = convolution_weights(detector, graph)
    seen = calibrate(graph, weights, drawn[PICTURES:], lambda _: None)
    by_name = seen.ranges("percentile", is_symmetric=True)
    ranges = {one: by_name[name] for one, name in map_names(graph).items() if name in by_name}
    ends = stem(graph) | last_of_head(graph)
    inner = [op.output for op in graph.ops if can_be_int8(op) and op.output not in ends]
    ways = list(Int8Way)
    choice = {tensor: ways[place % len(ways)] for place, tensor in enumerate(inner)}
    model = to_ncnn_int8(graph, weights, ranges, choice)
    (folder / "m.param").write_text(model.param)
    (folder / "m.bin").write_bytes(model.bin)
    images = np.concatenate([to_image(one) for one in drawn[:PICTURES]])
    np.save(folder / "images.npy", images)
    board = f"PYTHONPATH={packages} python3 - {folder} packed {folder}/there.npz"
    ask(["ssh", "-F", emulated.config, "board", board])
    ask([sys.executable, "-", folder, "unpacked", folder / "unpacked.npz"])
    ask([sys.executable, "-", folder, "packed", folder / "packed.npz"])
    return Pair(
        model.param,
        [one for one in read_layers(model.param, model.bin) if one.is_int8],
        *(blobs(folder / f"{core}.npz", images) for core in ("there", "unpacked", "packed")),
    )


def ask(command: list[object]) -> None:
    """Runs a Python that computes BLOBS."""
    subprocess.run([*map(str, command)], input=BLOBS, text=True, check=True)


def blobs(path: Path, images: Array) -> list[dict[str, Array]]:
    """What BLOBS left, a dict a picture, in the order in which it was computed."""
    found: list[dict[str, Array]] = [{"in0": image[None]} for image in images]
    with np.load(path) as archive:
        for key in archive.files:
            number, name = key.split()
            found[int(number)][name] = archive[key][None]
    return found


def first_apart(mine: dict[str, Array], theirs: dict[str, Array]) -> str | None:
    """The first blob that differs by more than float rounding."""
    for name, one in mine.items():
        if np.abs(one - theirs[name]).max() > ROUNDING * np.abs(one).max():
            return name
    return None


def test_every_int8_layer_there_is_what_whole_numbers_say(pair: Pair) -> None:
    whole = whole_blobs(pair.param)
    assert {one.kind for one in pair.layers} == {"Convolution", "ConvolutionDepthWise"}
    for found in pair.there:
        for layer in pair.layers:
            is_whole = layer.bottom in whole
            fused, apart = run_layer(layer, found[layer.bottom], is_whole=is_whole)
            theirs = found[layer.top]
            assert ((theirs == fused) | (theirs == apart)).all(), layer.name


def test_here_without_the_packed_layout_outputs_are_equal_or_a_tie_was_broken(pair: Pair) -> None:
    by_top = {one.top: one for one in pair.layers}
    whole, equal = whole_blobs(pair.param), 0
    for here, found in zip(pair.unpacked, pair.there, strict=True):
        name = first_apart(found, here)
        if name is None:
            equal += 1
            continue
        # An int8 layer that reads equal maps, as float rounding goes: one of its numbers is a tie.
        layer = by_top[name]
        assert layer.bottom not in whole
        mine, theirs = here[layer.bottom], found[layer.bottom]
        is_apart = quantise(mine, layer.bottom_scale) != quantise(theirs, layer.bottom_scale)
        assert 0 < is_apart.mean() < FEW, name
        scaled = np.abs(mine[is_apart] * layer.bottom_scale)
        width = ROUNDING * np.abs(mine).max() * layer.bottom_scale
        assert (np.abs(scaled % 1 - 0.5) < width).all()
    assert equal > PICTURES / 2


def test_here_with_it_depthwise_maps_are_a_step_off_now_and_then(pair: Pair) -> None:
    """And no other map is, before one of these was."""
    depthwise = {one.top for one in pair.layers if one.kind == "ConvolutionDepthWise"}
    whole = whole_blobs(pair.param)
    firsts = [first_apart(*both) for both in zip(pair.there, pair.packed, strict=True)]
    assert sum(name in depthwise for name in firsts) > PICTURES / 2
    for name, here, found in zip(firsts, pair.packed, pair.there, strict=True):
        if name in depthwise & whole:
            steps = np.abs(here[name] - found[name])
            assert steps.max() == 1
            assert (steps > 0).mean() < 10 * FEW


@pytest.fixture(scope="module")
def bundle(emulated: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nas.export leaves of a detector that finds most bright squares, on the board."""
    folder = tmp_path_factory.mktemp("squares")
    write_squares(folder, COUNT)
    data = str(folder / "data.yaml")
    flags = {"precision": ("fp32", "int8"), "data": data, "max_map_drop": 100.0, "bundle": True}
    made = left(folder, taught(), NAMES, SIZE, **flags)
    kept = emulated.folder / "home" / "bundle"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(made, kept)
    shutil.copytree(folder / "images" / "val", kept / "pictures")
    return kept


def found_there(
    emulated: Sshd, packages: Path, runtime: str, precision: str
) -> dict[str, detect.FoundBoxes]:
    """What detect.py prints there, by the picture."""
    words = ("--source", "pictures", "--json", "--threads", 1, "--runtime", runtime)
    done = there(emulated, packages, *words, "--precision", precision)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in map(json.loads, done.stdout.splitlines()):
        rows = line["boxes"]
        found[Path(line["picture"]).name] = detect.FoundBoxes(
            np.array([one["box"] for one in rows]).reshape(-1, 4),
            np.array([one["confidence"] for one in rows]),
            np.array([one["class"] for one in rows], np.int64),
        )
    return found


def found_here(bundle: Path, runtime: str, precision: str) -> dict[str, detect.FoundBoxes]:
    """What detect.py finds on this machine."""
    detector = detect.load_detector(bundle, runtime, precision, threads=1)
    files = sorted((bundle / "pictures").iterdir())
    return {one.name: detector.detect(rgb(one))[0] for one in files}


def strays(mine: dict[str, detect.FoundBoxes], theirs: dict[str, Any]) -> list[tuple[float, float]]:
    """By how much the boxes of each picture differ: pixels, score."""
    assert mine.keys() == theirs.keys()
    return [stray(found, theirs[name]) for name, found in mine.items()]


def within(found: tuple[float, float], most: tuple[float, float]) -> bool:
    return found[0] <= most[0] and found[1] <= most[1]


@pytest.mark.parametrize("runtime", ["ncnn", "onnxruntime"])
def test_detect_finds_the_boxes_there_that_it_finds_here(
    runtime: str,
    bundle: Path,
    emulated: Sshd,
    packages: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All near, most exact: in ncnn those without x86's packed layout."""
    board = found_there(emulated, packages, runtime, "int8")
    assert sum(len(one.scores) for one in board.values()) >= COUNT
    here = strays(found_here(bundle, runtime, "int8"), board)
    fp32 = strays(found_here(bundle, runtime, "fp32"), board)
    assert all(within(one, NEAR) for one in here)
    # The tolerance is finer than what int8 itself changes.
    assert not all(within(one, NEAR) for one in fp32)
    if runtime == "ncnn":
        make = ncnn.Net

        def unpacked() -> ncnn.Net:
            net = make()
            net.opt.use_packing_layout = False
            return net

        monkeypatch.setattr(ncnn, "Net", unpacked)
        here = strays(found_here(bundle, runtime, "int8"), board)
    assert sum(within(one, EXACT) for one in here) > COUNT / 2
