"""Blocks of the YOLO families, as the tests of several rooms want them."""

from __future__ import annotations

from torch import nn

from nas.detector.light import RepVGGBlock
from nas.detector.modules import build_block
from nas.detector.yolo import Focus
from nas.space.blocks import Block


def _block(module: str, channels_in: int, channels_out: int, **more: object) -> Block:
    values = {"height": 12, "width": 16, **more}
    return Block(module=module, channels_in=(channels_in,), channels_out=channels_out, **values)  # type: ignore[arg-type]


YOLO_BLOCKS = (
    _block("Focus", 3, 16, kernel=3),
    _block("Focus", 5, 8, kernel=1, activation="LeakyReLU"),
    _block("Bottleneck", 16, 16, shortcut=True),
    _block("Bottleneck", 16, 24, shortcut=True, activation="ReLU"),
    _block("Bottleneck", 16, 16, shortcut=False, activation="LeakyReLU"),
    _block("C2f", 24, 32, depth=1, shortcut=False),
    _block("C2f", 24, 32, depth=3, shortcut=True, activation="ReLU"),
    _block("SPP", 32, 24, kernel=5),
    _block("SPP", 32, 32, kernel=3, activation="LeakyReLU"),
    _block("nn.MaxPool2d", 16, 16, kernel=2, stride=2, padding=0),
    _block("nn.MaxPool2d", 16, 16, kernel=2, stride=1, padding=0),
    _block("nn.MaxPool2d", 16, 16, kernel=3, stride=2, padding=1),
    _block("nn.ZeroPad2d", 16, 16, padding=1),
    _block("RouteGroup", 16, 8, groups=2, index=0),
    _block("RouteGroup", 24, 8, groups=3, index=1),
    _block("RouteGroup", 24, 8, groups=3, index=2),
)


def build_for_board(block: Block) -> nn.Module:
    """The block's module in eval mode, in the form that is converted: a Focus with its weights in
    the order of `pixel_unshuffle`, a RepVGGBlock as one convolution."""
    module = build_block(block).eval()
    if isinstance(module, Focus | RepVGGBlock):
        module.fold_batch_norm()
    return module
