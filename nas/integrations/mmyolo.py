"""A model's backbone in MMYOLO's YOLOv5: a configuration that inherits theirs.

The neck and the head are MMYOLO's (`YOLOv5PAFPN`, `YOLOv5HeadModule`), told the backbone's channel
counts; our backbone is registered there by `nas.integrations.mmyolo_plugin`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nas import NasError
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.blocks import layers
from nas.space.spec import ModelSpec

BASE: Final = "./yolov5_s-v61_syncbn_8xb16-300e_coco.py"
"""The configuration inherited, beside which ours must lie: `mmyolo::yolov5/...`, which would work
from anywhere, knows only what MMYOLO's metafile lists, and this one is not in it (0.6.0)."""
LEVEL_STRIDES: Final = (8, 16, 32)
"""Those of P3, P4 and P5, which the inherited neck reads."""
_SIZE: Final = 256


class MmyoloError(NasError):
    """A model that MMYOLO's neck can't stand on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A row of the backbone whose map the neck reads."""

    row: int
    channels: int


def backbone_levels(spec: ModelSpec, where: str = "model") -> tuple[Level, ...]:
    """The last row of the backbone at each of the strides 8, 16 and 32 (P3, P4, P5).

    MmyoloError where the backbone has no map at one of them.
    """
    backbone = layers(spec, _SIZE, where)[: len(spec.backbone)]
    last = {_SIZE // layer.height: layer for layer in backbone}
    missing = [str(stride) for stride in LEVEL_STRIDES if stride not in last]
    if missing:
        raise MmyoloError(
            f"{where}, backbone",
            "a backbone for MMYOLO's YOLOv5 has maps at strides 8, 16 and 32",
            f"none at {', '.join(missing)}",
            "Export another model, or another format",
        )
    return tuple(
        Level(row=last[stride].index, channels=last[stride].channels) for stride in LEVEL_STRIDES
    )


def mmyolo_config(spec: ModelSpec, model_file: str, weights_file: str | None, where: str) -> str:
    """The text of a configuration for MMYOLO (classic style, mmengine's `Config`).

    model_file     the model YAML beside the configuration
    weights_file   the backbone's checkpoint beside it; None: it starts untaught
    """
    levels = backbone_levels(spec, where)
    # A model without anchors, or with another count of levels, takes those that theirs has.
    own = spec.anchors if len(spec.anchors) == len(levels) else DEFAULT_ANCHORS
    anchors = [list(zip(level[::2], level[1::2], strict=True)) for level in own]
    lines = [
        "# The backbone of a model YAML under MMYOLO's YOLOv5 neck and head.",
        "# Copy it, with the files that it names, into configs/yolov5/ of MMYOLO, where",
        "# pi-detector-nas is installed too, and: python tools/train.py configs/yolov5/THIS_FILE",
        f"_base_ = {BASE!r}",
        "custom_imports = dict(",
        "    imports=['nas.integrations.mmyolo_plugin'], allow_failed_imports=False)",
        "",
        "deepen_factor = _base_.deepen_factor",
        "widen_factor = 1.0",
        f"channels = {[level.channels for level in levels]}  # P3, P4, P5",
        f"num_classes = {spec.num_classes}",
        f"anchors = {anchors}",
        "",
        "model = dict(",
        "    backbone=dict(",
        "        _delete_=True,",
        "        type='NasBackbone',",
        f"        model={_beside(model_file)!r},",
        f"        out_indices={tuple(level.row for level in levels)},",
    ]
    if weights_file is not None:
        lines += [
            "        init_cfg=dict(",
            "            type='Pretrained',",
            f"            checkpoint={_beside(weights_file)!r},",
            "            prefix='backbone.')),",
        ]
    else:
        lines[-1] += "),"
    lines += [
        "    neck=dict(",
        "        deepen_factor=deepen_factor,",
        "        widen_factor=widen_factor,",
        "        in_channels=channels,",
        "        out_channels=channels),",
        "    bbox_head=dict(",
        "        head_module=dict(",
        "            num_classes=num_classes,",
        "            in_channels=channels,",
        "            widen_factor=widen_factor,",
        f"            num_base_priors={len(anchors[0])}),",
        "        prior_generator=dict(base_sizes=anchors)))",
    ]
    return "\n".join(lines) + "\n"


def _beside(name: str) -> str:
    """A file beside the configuration, as mmengine's predefined variable names its folder."""
    return "{{ fileDirname }}/" + name
