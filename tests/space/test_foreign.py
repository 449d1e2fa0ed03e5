"""YOLOv5-Lite's own way to write its models is read as ours."""

from __future__ import annotations

import pytest

from nas.space.modules import SpecError
from nas.space.references import REFERENCES
from nas.space.spec import dump_spec, parse_spec, read_spec

TO_THEIRS = {
    "v5lite-e": [
        ("ConvMaxPool, [32, 3, 2, ReLU]", "conv_bn_relu_maxpool, [32]"),
        ("ShuffleBlock, [120, 3, 2, ReLU]", "Shuffle_Block, [116, 2]"),
        ("ShuffleBlock, [120, 3, 1, ReLU]", "Shuffle_Block, [116, 1]"),
        ("ShuffleBlock, [232, 3, 2, ReLU]", "Shuffle_Block, [232, 2]"),
        ("ShuffleBlock, [232, 3, 1, ReLU]", "Shuffle_Block, [232, 1]"),
        ("ShuffleBlock, [464, 3, 2, ReLU]", "Shuffle_Block, [464, 2]"),
        ("ShuffleBlock, [464, 3, 1, ReLU]", "Shuffle_Block, [464, 1]"),
        ("DWConvBlock, [96, 3, 1, ReLU]", "DWConvblock, [96, 3, 1]"),
        ("DWConvBlock, [96, 3, 2, ReLU]", "DWConvblock, [96, 3, 2]"),
        ("Add, []", "ADD, [1]"),
    ],
    "v5lite-c": [
        ("Conv, [32, 3, 2, None, 1, Hardswish]", "CBH, [32, 3, 2]"),
        ("LCBlock, [64, 3, 2, 0, Hardswish]", "LC_Block, [64, 2, 3, False]"),
        ("LCBlock, [64, 3, 1, 0, Hardswish]", "LC_Block, [64, 1, 3]"),
        ("LCBlock, [128, 3, 2, 0, Hardswish]", "LC_Block, [128, 2, 3, False]"),
        ("LCBlock, [512, 5, 2, 0.25, Hardswish]", "LC_Block, [512, 2, 5, True]"),
        ("LCBlock, [512, 5, 1, 0.25, Hardswish]", "LC_Block, [512, 1, 5, True]"),
        ("LCBlock, [128, 5, 2, 0.25, Hardswish]", "LC_Block, [128, 2, 5, True]"),
    ],
}


@pytest.mark.parametrize("name", TO_THEIRS)
def test_its_rows_are_our_reference(name: str) -> None:
    ours = (REFERENCES / f"{name}.yaml").read_text()
    theirs = ours
    for own, foreign in TO_THEIRS[name]:
        assert own in theirs, own
        theirs = theirs.replace(own, foreign)
    spec = read_spec(REFERENCES / f"{name}.yaml")
    assert parse_spec(theirs) == spec
    assert parse_spec(dump_spec(parse_spec(theirs))) == spec


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("Shuffle_Block, [116]", "backbone row 0: Shuffle_Block takes 2 arguments; got 1"),
        ("CBH, [32, 3, 2, 1, 1]", "backbone row 0: CBH takes 3 to 4 arguments; got 5"),
        ("Shuffle_Block, [116, 3]", "argument 'stride' of ShuffleBlock: the stride is 1 or 2"),
        ("LC_Block, [64, 2, 3, maybe]", "argument 'se_ratio' of LCBlock: the SE ratio is a number"),
        ("ADD, [0.5]", "Add takes at most 0 arguments"),
        ("CBH, ['os.system(\"x\")', 3, 2]", "the output channels are a whole number"),
    ],
)
def test_a_mistake_gets_one_message(row: str, expected: str) -> None:
    text = f"nc: 1\nbackbone:\n  - [-1, 1, {row}]\nhead:\n  - [[0], 1, Detect, [nc, anchors]]\n"
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "m.yaml")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("m.yaml")
