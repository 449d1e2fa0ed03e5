"""A stand-in for an MMYOLO checkout: a registry, and the base configuration's keys.

Written for these tests; nothing of MMYOLO is in it.
"""

from __future__ import annotations

from pathlib import Path

BASE = """
deepen_factor = 0.33
widen_factor = 0.5
num_classes = 80
strides = [8, 16, 32]
model = dict(
    type='YOLODetector',
    backbone=dict(type='YOLOv5CSPDarknet', deepen_factor=deepen_factor),
    neck=dict(type='YOLOv5PAFPN', widen_factor=widen_factor, in_channels=[256, 512, 1024],
              out_channels=[256, 512, 1024], num_csp_blocks=3),
    bbox_head=dict(
        type='YOLOv5Head',
        head_module=dict(type='YOLOv5HeadModule', num_classes=num_classes,
                         in_channels=[256, 512, 1024], widen_factor=widen_factor,
                         featmap_strides=strides, num_base_priors=3),
        prior_generator=dict(type='mmdet.YOLOAnchorGenerator', base_sizes=[], strides=strides)))
"""

REGISTRY = """
from mmengine.registry import MODELS as ROOT
from mmengine.registry import Registry

MODELS = Registry('model', parent=ROOT, scope='mmyolo', locations=['mmyolo.registry'])
"""


def write_package(folder: Path) -> Path:
    """The stand-in in `folder`, to be put on sys.path; returns it. `configs/yolov5` is in it."""
    package, configs = folder / "mmyolo", folder / "configs" / "yolov5"
    configs.mkdir(parents=True)
    (configs / "yolov5_s-v61_syncbn_8xb16-300e_coco.py").write_text(BASE)
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '0.6.0'\n")
    (package / "registry.py").write_text(REGISTRY)
    return folder
