"""How to train: every knob in one typed value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nas.training.augment import AugmentSettings
from nas.training.batches import Assignment
from nas.training.growth import GrowthSettings
from nas.training.losses.loss import LossSettings


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The knobs of a training. The image size is that of the images it is given."""

    epochs: int | None = 100
    """Passes over the training part; None where `steps` is given."""
    steps: int | None = None
    """Batches in all, instead of epochs."""
    batch_size: int = 16
    """Images per step, at most: where `epochs` are counted, a pass is cut into equal batches."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum, or AdamW."""
    lr: float = 0.01
    """Peak learning rate."""
    final_lr_share: float = 0.01
    """Share of the peak that the cosine ends at."""
    momentum: float = 0.937
    """SGD's momentum, AdamW's first beta."""
    beta2: float = 0.999
    """AdamW's second beta: it must forget within the training, so less for a short one."""
    weight_decay: float = 5e-4
    """Of convolution weights; biases and norms have none."""
    warmup: float = 0.03
    """Share of the steps over which the learning rate rises to its peak."""
    warmup_bias_lr: float = 0.1
    """Learning rate that biases start from and fall from to the common one; SGD only."""
    warmup_momentum: float = 0.8
    """Momentum that the warm-up starts from; SGD only."""
    clip_norm: float = 10.0
    """Gradients longer than this are shortened to it; 0 leaves them."""
    ema_share: float = 0.1
    """The weights that are graded average over about this share of the steps so far."""
    ema_decay: float = 0.9999
    """Largest decay of that average."""
    recalibration_batches: int = 0
    """Batches over which the averaged weights' batch norm statistics are measured afresh at the
    end of the training; 0 keeps the running ones."""
    priors_from_data: bool = True
    """Start the head's biases from the data's base rates; off to go on from trained weights."""
    closing_share: float = 0.1
    """Share of the steps, at the end, without mosaic."""
    class_balance: float = 0.0
    """How much more often images with rare classes are shown: 0 each once a pass, 0.5 as LVIS has
    it (nas/training/losses/balance.py)."""
    first_row_lr: float = 1.0
    """Share of the learning rate at the model's first row; it rises evenly to 1 at the neck. For
    backbones that start from weights which know pictures."""
    frozen_stages: int = 0
    """Stages of the backbone that learn nothing, in eval mode; 1 is the stem, at half the size.
    Rows that did not come whole from trained weights learn all the same."""
    patience: int = 0
    """Gradings without a better mAP50-95 after which a training ends; 0: it never ends early."""
    evaluate_every: int = 1
    """Passes between two gradings on the validation part, each of which costs a fifth to a third
    of a pass; the last is always graded. 0 grades, and keeps files, at the end alone."""
    amp: bool = True
    """Half precision on a GPU: bfloat16 where it has that, else float16 with scaled gradients."""
    cpu_bf16: bool = False
    """bfloat16 on a processor that has it (nas/training/precision.py); others stay single."""
    channels_last: bool = True
    """Memory layout of images and weights; a quarter faster on a CPU."""
    assignment: Assignment = "yolov5"
    """Which predictions of a head with anchors answer for an object: by YOLOv5's rule, or those
    that are best aligned with it (losses/aligned_anchors.py). One without has the latter."""
    growth: GrowthSettings = field(default_factory=GrowthSettings)
    """Smaller images and weaker augmentation at first."""
    loss: LossSettings = field(default_factory=LossSettings)
    """Gains of the loss."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Strengths of the augmentation."""

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps, and None for the other")
        length = self.epochs if self.steps is None else self.steps
        if length is None or length < 1 or self.batch_size < 1:
            raise ValueError("epochs, steps and batch_size are at least 1")
        for name in ("warmup", "ema_share", "ema_decay", "closing_share", "final_lr_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: a share lies in 0..1; got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in (self.momentum, self.beta2, self.warmup_momentum)):
            raise ValueError("momentum, beta2 and warmup_momentum lie in 0..1 (not 1)")
        if self.lr <= 0 or min(self.warmup_bias_lr, self.weight_decay, self.clip_norm) < 0:
            raise ValueError("lr is above 0; warmup_bias_lr, weight_decay and clip_norm at least 0")
        for name in ("evaluate_every", "recalibration_batches", "frozen_stages", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is at least 0; got {getattr(self, name)}")
        if not 0 < self.first_row_lr <= 1:
            raise ValueError(f"first_row_lr lies in 0..1 (not 0); got {self.first_row_lr}")
        if not 0 <= self.class_balance <= 1:
            raise ValueError(f"class_balance lies in 0..1; got {self.class_balance}")

    def epoch_steps(self, images: int) -> int:
        """Steps that make one pass over so many images; where `steps` are given, just over one."""
        return max(1, -(-images // self.batch_size))

    def total_steps(self, images: int) -> int:
        """Steps in all for a training part of so many images."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * self.epoch_steps(images)


def short_settings(steps: int = 140) -> TrainSettings:
    """A recipe for so few steps that a usual one would never leave its warm-up: for proxies.

    Small batches, a high rate with little momentum, priors and batch norm statistics measured on
    the data, flips as the only augmentation: LOG.md has what each of them gave.
    """
    return TrainSettings(
        epochs=None,
        steps=steps,
        batch_size=8,
        optimizer="adamw",
        lr=0.01,
        momentum=0.6,
        beta2=0.98,
        weight_decay=0.01,
        warmup=0.05,
        clip_norm=0.0,
        ema_share=0.05,
        recalibration_batches=10,
        evaluate_every=0,
        cpu_bf16=False,
        loss=LossSettings(classes=1.0, aligned_classes=1.5),
        augment=AugmentSettings(
            mosaic=0.0,
            scale=0.0,
            translate=0.0,
            flip_vertical=0.5,
            hue=0.0,
            saturation=0.0,
            value=0.0,
        ),
    )
