"""Blocks of the light families, as the tests of several rooms want them."""

from __future__ import annotations

from nas.space.blocks import Block


def _block(module: str, channels_in: int, channels_out: int, **more: object) -> Block:
    values = {"height": 12, "width": 10, **more}
    return Block(module=module, channels_in=(channels_in,), channels_out=channels_out, **values)  # type: ignore[arg-type]


LIGHT_BLOCKS = (
    _block("ShuffleBlock", 24, 24, kernel=3, activation="ReLU"),
    _block("ShuffleBlock", 24, 32, kernel=5, stride=2),
    _block("ShuffleBlock", 16, 24, kernel=3, height=9, width=13),
    _block("LCBlock", 24, 32, kernel=5, stride=2, se_ratio=0.25, activation="Hardswish"),
    _block("LCBlock", 24, 24, kernel=3, activation="LeakyReLU"),
    _block("InvertedResidual", 24, 24, kernel=3, expand_ratio=3.67, se_ratio=0.25),
    _block("InvertedResidual", 16, 24, kernel=5, stride=2, activation="Hardswish"),
    _block("InvertedResidual", 16, 16, kernel=3, activation="ReLU"),
    _block("RepVGGBlock", 16, 16, kernel=3, activation="ReLU"),
    _block("RepVGGBlock", 16, 24, kernel=3, stride=2, height=9, width=13),
    _block("ConvMaxPool", 3, 16, kernel=3, stride=2, activation="ReLU"),
    _block("ConvMaxPool", 3, 16, kernel=5, stride=1, height=9, width=13),
    _block("Dense", 16, 24, dropout=0.2, activation="Hardswish"),
)
