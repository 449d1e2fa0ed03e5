"""Small detectors under each form of head, as the tests of several rooms want them."""

from __future__ import annotations

from nas.space.spec import ModelSpec, parse_spec

FORMS = (
    "Detect, [nc]",
    "LightDetect, [nc]",
    "LightDetect, [nc, None, 1, 8]",
    "LightDetect, [nc, 24, 2, 4, 5, separable]",
    "LightDetect, [nc, None, 1, 1, 3, separable]",
    "LightDetect, [nc, None, 0, 16]",
    "LightDetect, [nc, 24, 2, 8]",
)
LIGHT_FORMS = FORMS[1:]

MODEL = """
nc: 3
activation: {activation}
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, MBConv, [8, 3, 2, 2, 0]]
  - [-1, 1, MBConv, [16, 3, 2, 2, 0.25]]
  - [-1, 1, MBConv, [24, 3, 2, 2, 0]]
  - [-1, 1, FusedMBConv, [32, 3, 2, 2, 0]]
head:
  - [2, 1, DWConvBlock, [16, 3, 1]]
  - [3, 1, Conv, [16, 1, 1]]
  - [4, 1, Conv, [24, 1, 1]]
  - [[5, 6, 7], 1, {head}]
"""


def model_text(head: str, activation: str = "ReLU6") -> str:
    """The model's YAML; levels of 16, 16 and 24 channels at strides 8, 16 and 32."""
    return MODEL.format(head=head, activation=activation)


def model_of(head: str, activation: str = "ReLU6") -> ModelSpec:
    return parse_spec(model_text(head, activation))
