"""How long a detector takes on a board, and what makes it slow there.

    python -m nas.predict search_spaces/reference/MODEL.yaml --image-size 320
    python -m nas.predict search_spaces/reference/MODEL.yaml --device host --threads 2

Answers from the board's latency table, without running anything: from a measured one where
python -m nas.profile has made it, else from the estimated one that comes with the program.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import tyro

from nas import NasError
from nas.terminal import command_line, say

if TYPE_CHECKING:
    from nas.data.common_shape import ShapeChoice
    from nas.latency.answer import Latency, LayerTime, TableModel
    from nas.latency.rules import FourRules, RuleCosts
    from nas.space.image_size import ImageSize
    from nas.space.spec import ModelSpec

AUTO: Final = "auto"
"""The image size that the data's pictures decide."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Predict a detector's latency on a board from its latency table."""

    model: Annotated[Path, tyro.conf.Positional]
    """A model YAML in YOLOv5 form."""
    device: str = "rpi4"
    """A folder of latency_tables/ with a device.yaml."""
    image_size: str | None = None
    """Pixels: 320 is a square, 320x192 is 320 wide and 192 high, each a multiple of 32; by default
    the model's own, else 320. auto: the least rectangle of that longer side that suits the
    pictures of --data."""
    data: str | None = None
    """Of --image-size auto: a YOLO data.yaml, or a built-in drawn data set."""
    runtime: str = "ncnn"
    """What runs the model: ncnn or onnxruntime; tflite where it is estimated."""
    precision: str = "fp32"
    """Number format."""
    threads: int | None = None
    """How many threads the runtime uses (default: the device's own, 4 on a Pi and 1 on host)."""
    json: bool = False
    """Print one JSON document."""


def run(arguments: Arguments, root: Path | None = None) -> None:
    """Reads the model and the table, and prints the latency and where it goes."""
    from nas.integrations.trainers import sentence, trainers
    from nas.latency.device import read_device
    from nas.latency.load import load_table_model
    from nas.latency.rules import four_rules, rule_costs
    from nas.space.blocks import blocks
    from nas.space.ops import macs, model_graph, params
    from nas.space.spec import image_size_of, read_spec

    if (arguments.image_size == AUTO) != (arguments.data is not None):
        raise NasError(
            "--data",
            "it names the pictures that --image-size auto is to suit, and is given with it alone",
            f"--image-size {arguments.image_size}, --data {arguments.data}",
            "Give both, or neither",
        )
    spec = read_spec(arguments.model)
    choice = None if arguments.data is None else suited_size(arguments.data, spec)
    image_size = choice.size if choice else image_size_of(arguments.image_size, [spec])
    device = read_device(arguments.device, root)
    key = device.key(arguments.runtime, arguments.precision, arguments.threads)
    graph = model_graph(spec, image_size)
    walk = blocks(spec, image_size)
    predictor = load_table_model(key, root, walk=walk)
    latency, parts = predictor.predict(spec, image_size), predictor.parts(spec, image_size)
    doubts = [*predictor.provenance["doubts"], *predictor.doubts(walk)]
    counts = {"params": params(graph), "macs": macs(graph)}
    rules = four_rules(graph, key.precision, key.runtime), rule_costs(graph, parts, predictor)
    square = None
    if choice is not None and choice.is_rectangle:
        square = predictor.predict(spec, choice.square)
    if arguments.json:
        found = document(latency, parts, predictor, doubts, counts, image_size)
        found["rules"] = {**asdict(rules[0]), **asdict(rules[1])}
        if square is not None:
            found["square_ms"] = square.ms
        found["trainers"] = {one.tool: one.share for one in trainers(spec)}
        print(json.dumps(found, indent=1))
    else:
        if choice is not None and square is not None:
            print(saved(choice, latency, square))
        print(answer(latency, predictor, doubts, counts, image_size))
        print(sentence(spec))
        print(table(parts, "estimated" if latency.kind.value == "estimated" else "cost model"))
        print(rules_table(*rules, sum(part.ms for part in parts)))


def suited_size(data: str, spec: ModelSpec) -> ShapeChoice:
    """The least size that suits a data set's pictures."""
    from nas.data.common_shape import suited
    from nas.data.dataset import read_data
    from nas.space.spec import image_size_of

    choice = suited(read_data(data), image_size_of(None, [spec]))
    say(choice.told())
    return choice


def saved(choice: ShapeChoice, latency: Latency, square: Latency) -> str:
    """What the rectangle saves, for people."""
    return (
        f"{choice.size} saves {square.ms - latency.ms:.2f} ms of {square.ms:.2f} at"
        f" {choice.square} ({latency.kind.value}; 90 % intervals {latency.low_ms:.2f} to"
        f" {latency.high_ms:.2f}, and {square.low_ms:.2f} to {square.high_ms:.2f})"
    )


def document(
    latency: Latency,
    parts: tuple[LayerTime, ...],
    predictor: TableModel,
    doubts: list[str],
    counts: dict[str, int],
    image_size: ImageSize,
) -> dict[str, Any]:
    """The answer for programs."""
    from nas.space.image_size import written

    return {
        "latency_ms": latency.ms,
        "low_ms": latency.low_ms,
        "high_ms": latency.high_ms,
        "kind": latency.kind.value,
        "measured_share": latency.measured_share,
        "heldout_mape": latency.heldout_mape,
        **counts,
        "image_size": written(image_size),
        "stages_ms": by_stage(parts),
        "kinds_ms": by_kind(parts),
        "layers": [
            {
                "layer": part.layer,
                "stage": part.stage,
                "what": part.what,
                "ms": part.ms,
                "is_measured": part.is_measured,
            }
            for part in parts
        ],
        "doubts": doubts,
        "provenance": predictor.provenance,
    }


def answer(
    latency: Latency,
    predictor: TableModel,
    doubts: list[str],
    counts: dict[str, int],
    image_size: ImageSize,
) -> str:
    """The answer for people."""
    told = predictor.provenance
    lines = [
        f"{latency.ms:.2f} ms ({latency.kind.value}; 90 % interval {latency.low_ms:.2f} to "
        f"{latency.high_ms:.2f}) at {image_size} px on {predictor.key}",
        f"{told['board']}, {told['runtime']} {told['runtime_version']}, table of {told['date']}",
        stands_on(latency, told),
        f"{counts['params'] / 1e6:.2f} M parameters, {counts['macs'] / 1e6:.0f} M MACs",
        *(f"doubt: {doubt}" for doubt in doubts),
    ]
    return "\n".join(lines)


def stands_on(latency: Latency, told: dict[str, Any]) -> str:
    """What an answer stands on, and how far such answers were off."""
    from nas.latency.answer import HELD_OUT

    error = f"{latency.heldout_mape:.1%}"
    if latency.kind.value == "estimated":
        networks = f"{len(told['networks'])} networks of {told['sources'][0]}"
        return f"it stands on {networks}; error on {HELD_OUT[latency.kind]}: {error}"
    return (
        f"{latency.measured_share:.0%} of it stands on blocks timed there; error on "
        f"{told['heldout_networks']} held-out detectors of {told['space']}: {error}"
    )


def by_stage(parts: tuple[LayerTime, ...]) -> dict[str, float]:
    """ms of each stage, in the order of the network."""
    found: dict[str, float] = {}
    for part in parts:
        found[part.stage] = found.get(part.stage, 0.0) + part.ms
    return found


WORDS: Final = {
    "pointwise": "1x1 convolutions",
    "dense": "dense convolutions",
    "grouped": "depthwise convolutions (G2)",
    "pointwise_computing": "1x1 convolutions, computing",
    "dense_computing": "dense convolutions, computing",
    "grouped_computing": "depthwise convolutions, computing",
    "pointwise_memory": "1x1 convolutions, memory (G1)",
    "dense_memory": "dense convolutions, memory",
    "grouped_memory": "depthwise convolutions, memory (G2)",
    "unfilled": "widths that do not fill the vectors",
    "starting": "starting ops: fragmentation (G3)",
    "element_wise": "element-wise ops (G4)",
    "moving": "concats, pools, upsamples",
    "squeeze_excite": "squeeze-and-excite",
    "other": "others",
}
"""WorkKind -> the words for it; G1 to G4 are ShuffleNetV2's rules."""


def by_kind(parts: tuple[LayerTime, ...]) -> dict[str, float]:
    """ms of each kind of work, by the cost model, the largest first."""
    found: dict[str, float] = {}
    for part in parts:
        for kind, ms in part.kinds.items():
            words = WORDS[kind.value]
            found[words] = found.get(words, 0.0) + ms
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def table(parts: tuple[LayerTime, ...], otherwise: str) -> str:
    """Where the time goes: by layer, by stage, and by kind of work (that by the cost model).

    otherwise  what stands beside a layer that was not measured
    """
    total = sum(part.ms for part in parts)
    lines = ["", "   ms  share  layer"]
    lines += [
        f"{part.ms:5.2f}  {part.ms / total:4.0%}  {part.layer:3d} {part.stage:6} {part.what}"
        + ("" if part.is_measured else f"  ({otherwise})")
        for part in parts
    ]
    for title, sums in (
        ("stage", by_stage(parts)),
        ("kind of work (split by the cost model)", by_kind(parts)),
    ):
        lines += ["", f"   ms  share  {title}"]
        lines += [f"{ms:5.2f}  {ms / total:4.0%}  {name}" for name, ms in sums.items()]
    return "\n".join(lines)


def rules_table(rules: FourRules, costs: RuleCosts, total: float) -> str:
    """ShuffleNetV2's four rules: what they say of the model, and what they cost by the table."""
    lines = [
        (
            costs.unequal_ms,
            f"G1 unequal widths: 1x1 convolutions access {rules.pointwise_over_bound:.2f} times "
            "what as many MACs at equal widths would",
        ),
        (
            costs.grouped_ms,
            f"G2 grouped convolutions: {rules.grouped_macs:.0%} of the MACs, "
            f"{rules.grouped_access:.0%} of what convolutions access; over the others' rate",
        ),
        (
            costs.starting_ms,
            f"G3 fragmentation: {rules.ops} ops, {rules.macs_per_op / 1e6:.2f} M MACs each; "
            "starting the convolutions",
        ),
        (
            costs.element_wise_ms,
            f"G4 element-wise ops: {rules.element_wise:.0%} of the numbers moved",
        ),
    ]
    text = ["", "   ms  share  ShuffleNetV2's rules (not disjoint; by the cost model)"]
    text += [f"{ms:5.2f}  {ms / total:4.0%}  {what}" for ms, what in lines]
    return "\n".join(text)


if __name__ == "__main__":
    command_line(Arguments, run)
