"""An ncnn `.param` as something that can be compared: names and order do not count."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

COMMUTATIVE = {"BinaryOp"}


def read_layers(text: str) -> list[tuple[str, list[str], list[str], dict[str, tuple[float, ...]]]]:
    """Layer type, input blobs, output blobs and parameters of each line."""
    magic, counts, *lines = text.strip().splitlines()
    assert magic == "7767517"
    layers = []
    for line in lines:
        kind, _, inputs, outputs, *rest = line.split()
        i, o = int(inputs), int(outputs)
        pairs = (word.split("=") for word in rest[i + o :])
        parameters = {key: tuple(map(float, value.split(","))) for key, value in pairs}
        layers.append((kind, rest[:i], rest[i : i + o], parameters))
    blobs = {name for _, _, outputs, _ in layers for name in outputs}
    assert counts.split() == [str(len(layers)), str(len(blobs))]
    return layers


def signature(text: str) -> Counter[str]:
    """Every layer with all that lies before it, as a multiset of texts.

    Equal signatures are equal graphs: a layer's text is its type, its parameters and the texts of
    what it reads, in order (but for those of which a sum does not ask the order). Splits only
    name blobs; an input is known by its number.
    """
    seen: dict[str, str] = {}
    found: list[str] = []
    for kind, inputs, outputs, parameters in read_layers(text):
        if kind == "Split":
            seen.update(dict.fromkeys(outputs, seen[inputs[0]]))
            continue
        read = [seen[name] for name in inputs]
        if kind in COMMUTATIVE:
            read.sort()
        own = outputs[0] if kind == "Input" else ""
        values = sorted((key, value) for key, value in parameters.items())
        layer = f"{kind}{own} {values} {[found_id(r) for r in read]}"
        seen.update({name: f"{layer}{i or ''}" for i, name in enumerate(outputs)})
        if kind != "Input":
            found.append(layer)
    return Counter(found)


def found_id(text: str) -> int:
    """A short stand-in for a layer's text, equal for equal texts."""
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")


def split_counts(text: str) -> list[int]:
    """How many readers each Split serves, sorted."""
    return sorted(len(outputs) for kind, _, outputs, _ in read_layers(text) if kind == "Split")


def pnnx_param(folder: Path, module: object, inputs: tuple[object, ...]) -> str:
    """What pnnx makes of a torch module."""
    import pnnx

    pnnx.export(module, str(folder / "m.pt"), inputs, fp16=False)
    return (folder / "m.ncnn.param").read_text()
