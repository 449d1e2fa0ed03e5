"""Writes search_spaces/reference/efficientnet-b0.yaml to b7.yaml by compound scaling.

python benchmarks/efficientnet_references.py [--folder search_spaces/reference]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.space.compound import EFFICIENTNETS, compound_spec, level_widths
from nas.space.references import REFERENCES
from nas.space.spec import dump_spec


def text_of(name: str) -> str:
    """The YAML of one of EFFICIENTNETS, with what it is in its first lines."""
    one = EFFICIENTNETS[name]
    p3, p4, p5 = level_widths(one.width)
    comment = (
        f"EfficientNet-{name.upper()} (arXiv 1905.11946: width {one.width:g}, depth {one.depth:g}, "
        f"trained at {one.resolution} px)\n"
        f"under YOLOv5's PAN of its own widths, {p3}, {p4} and {p5} channels, as MMYOLO joins "
        "them.\n"
        "Made by benchmarks/efficientnet_references.py from nas/space/compound.py."
    )
    return dump_spec(compound_spec(name), comment)


def main() -> None:
    """Writes the eight files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=REFERENCES)
    folder = parser.parse_args().folder
    for name in EFFICIENTNETS:
        path = folder / f"efficientnet-{name}.yaml"
        path.write_text(text_of(name), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
