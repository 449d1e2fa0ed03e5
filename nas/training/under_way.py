"""A training under way: its network, average, optimiser and plan, and what a step does to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.detector.convolution import DropPath
from nas.detector.head import Detect
from nas.space.image_size import ImageSize, is_multiple, nearest
from nas.training.batches import BatchPlan, Wanted
from nas.training.freezing import freeze, measure_norms, stage_rows
from nas.training.losses.assign import HeadGrid
from nas.training.losses.loss import head_loss
from nas.training.losses.priors import set_priors
from nas.training.metrics import Grades, to_input
from nas.training.optimizer import MovingAverage, make_optimizer, set_schedule
from nas.training.precision import autocast, autocast_type, keep_single
from nas.training.progress import Lap, LapEnd, TrainingError
from nas.training.settings import TrainSettings


class Training:
    """A training under way."""

    def __init__(
        self,
        detector: Detector,
        part: ImageSet,
        settings: TrainSettings,
        seed: int,
        device: str,
        whole_rows: int | None = None,
        plan: BatchPlan | None = None,
    ) -> None:
        """`plan` makes the batches; by default one of these settings on `part`."""
        if len(part.names) != detector.head.num_classes:
            raise TrainingError(
                "model",
                f"it has as many classes as the data ({len(part.names)})",
                str(detector.head.num_classes),
                "Give the model the data's number of classes",
            )
        self.settings = settings
        self.seed = seed
        self.device = torch.device(device)
        self.steps = settings.total_steps(len(part))
        self.lap_steps = settings.epoch_steps(len(part)) if settings.evaluate_every else self.steps
        self.images = len(part)
        self.step = 0
        self.laps: list[Lap] = []
        self.best = -1.0
        self.lap_start = 0
        self.lap_losses = torch.zeros(3, device=device)
        self.failed_step = torch.tensor(-1, device=device)
        self.plan = plan or plan_of(detector, part, settings, seed)
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.detector = detector.to(self.device, memory_format=layout).train()  # type: ignore[call-overload]
        if settings.priors_from_data:
            set_priors(detector, self.plan)
        self.whole_rows = whole_rows
        self.frozen_rows = stage_rows(detector, settings.frozen_stages)
        if whole_rows is not None:
            self.frozen_rows = min(self.frozen_rows, whole_rows)
        freeze(detector, self.frozen_rows)
        self.drops = [(m, m.rate) for m in detector.modules() if isinstance(m, DropPath)]
        self.average = MovingAverage(detector, settings.ema_share, settings.ema_decay)
        self.optimizer = make_optimizer(detector, settings)
        self.kind = autocast_type(self.device, amp=settings.amp, cpu_bf16=settings.cpu_bf16)
        if self.device.type == "cpu" and self.kind != torch.float32:
            keep_single(detector)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.kind == torch.float16)

    def one_step(self, images: NDArray[np.uint8], targets: Wanted) -> torch.Tensor:
        """Trains on one batch; returns the parts of its loss (3,)."""
        self.lr = set_schedule(self.optimizer, self.step, self.steps, self.settings)
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        strength = self.settings.growth.strength_at(self.step, self.steps)
        for drop, rate in self.drops:
            drop.rate = rate * strength
        inputs = to_input(images, self.device)
        if not self.settings.channels_last:
            inputs = inputs.contiguous()
        with autocast(self.device, self.kind):
            raw = self.detector(inputs)
        losses = head_loss(raw, targets, self.plan.grid_at(self.step), self.settings.loss)
        self._note_finite(losses.parts)
        self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.detector.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update()
        self.step += 1
        self.lap_losses += losses.parts
        return losses.parts

    def is_lap_end(self) -> bool:
        return self.step == self.steps or self.step % self.lap_steps == 0

    def is_due(self) -> bool:
        """Whether the lap that ends at this step is to be graded."""
        passes = self.step // self.lap_steps
        return self.step == self.steps or passes % max(1, self.settings.evaluate_every) == 0

    def recalibrate(self) -> None:
        """Measures the averaged network's batch norm statistics afresh.

        In a short training they lag behind weights that moved fast; a few batches set them right
        (precise BN, arXiv 2105.07576, section 3). Augmented as the training ends, without mosaic.
        """
        count = self.settings.recalibration_batches
        if count == 0:
            return
        first = max(self.steps, self.plan.closing_step)
        measure_norms(self.average.detector, self._batches(first, count), self.frozen_rows)

    def _batches(self, first: int, count: int) -> Iterator[torch.Tensor]:
        """The inputs of so many steps from `first` on."""
        for step in range(first, first + count):
            yield to_input(self.plan.make(step)[0], self.device)

    def _note_finite(self, parts: torch.Tensor) -> None:
        """Remembers the first step whose loss (3,) was no number; on a CPU raises at once.

        A GPU is not waited for: `check_finite` asks at the end of a lap.
        """
        is_first = (self.failed_step < 0) & ~parts.isfinite().all()
        self.failed_step = torch.where(is_first, self.step, self.failed_step)
        if self.device.type == "cpu":
            self.check_finite()

    def check_finite(self) -> None:
        """Raises TrainingError if the loss of a step so far was no number."""
        failed = int(self.failed_step)
        if failed < 0:
            return
        kept = f"those of step {self.laps[-1].step}" if self.laps else "none yet"
        raise TrainingError(
            f"training, step {failed + 1} of {self.steps}",
            "the loss stays finite",
            "nan or infinity",
            f"Lower lr ({self.settings.lr:g}) or clip_norm ({self.settings.clip_norm:g})."
            f" Weights kept: {kept}",
        )

    def has_stalled(self) -> bool:
        """Whether the last `patience` gradings brought nothing better than those before them."""
        maps = [lap.map50_95 for lap in self.laps if lap.map50_95 is not None]
        patience = self.settings.patience
        return 0 < patience < len(maps) and max(maps[-patience:]) <= max(maps[:-patience])

    def end_lap(self, grades: Grades | None, seconds: float) -> Lap:
        """Notes the lap that ends at this step, and begins the next."""
        parts = (self.lap_losses / (self.step - self.lap_start)).tolist()
        self.lap_losses.zero_()
        self.lap_start = self.step
        lap = Lap(
            step=self.step,
            epoch=self.plan.seen(self.step) / self.images,
            lr=self.lr,
            box=parts[0],
            objectness=parts[1],
            classes=parts[2],
            map50_95=None if grades is None else grades.map50_95,
            map50=None if grades is None else grades.map50,
            seconds=seconds,
        )
        self.laps.append(lap)
        return lap

    def standing(self, grades: Grades | None, has_val: bool) -> LapEnd:
        """Where the training stands, for a callback to keep."""
        is_best = not has_val if grades is None else grades.map50_95 > self.best
        if grades is not None:
            self.best = max(self.best, grades.map50_95)
        return LapEnd(
            detector=self.average.detector,
            grades=grades,
            laps=tuple(self.laps),
            is_best=is_best,
            state={
                "step": self.step,
                "steps": self.steps,
                "seed": self.seed,
                "best": self.best,
                "laps": [asdict(lap) for lap in self.laps],
                "weights": self.detector.state_dict(),
                "average": self.average.detector.state_dict(),
                "updates": self.average.updates,
                "whole_rows": self.whole_rows,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to a standing."""
        if (state.get("steps"), state.get("seed")) != (self.steps, self.seed):
            raise TrainingError(
                "checkpoint",
                f"it is of a training of {self.steps} steps with seed {self.seed}",
                f"{state.get('steps')} steps, seed {state.get('seed')}",
                "Resume with the settings that it was started with",
            )
        try:
            self.detector.load_state_dict(state["weights"])
            self.average.detector.load_state_dict(state["average"])
            self.average.updates = state["updates"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.step = self.lap_start = state["step"]
            self.best = state["best"]
            self.laps = [Lap(**lap) for lap in state["laps"]]
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise TrainingError(
                "checkpoint",
                "it holds all that going on takes, of this model",
                " ".join(f"{type(error).__name__}: {error}".split())[:200],
                "Delete the last.pt: this training then begins again, and the others go on",
            ) from error


def plan_of(detector: Detector, part: ImageSet, settings: TrainSettings, seed: int) -> BatchPlan:
    """The batches of a training, for the head that a detector has."""
    steps = settings.total_steps(len(part))
    return BatchPlan(
        part=part,
        grid=head_grid(detector, part.image_size),
        batch_size=settings.batch_size,
        augment=settings.augment,
        closing_step=steps - round(settings.closing_share * steps),
        seed=seed,
        steps_per_pass=None if settings.epochs is None else settings.epoch_steps(len(part)),
        assignment=settings.assignment,
        steps=steps,
        growth=settings.growth,
        class_balance=settings.class_balance,
    )


def head_grid(detector: Detector, image_size: ImageSize) -> HeadGrid:
    """What assignment and loss need of a detector's head at an image size.

    Raises TrainingError if a side isn't a multiple of the largest stride.
    """
    head = detector.head
    if not is_multiple(image_size, max(head.strides)):
        raise TrainingError(
            "image size",
            f"each side is a multiple of the detector's largest stride, {max(head.strides)}",
            str(image_size),
            f"Use {nearest(image_size, max(head.strides))}",
        )
    anchors = None
    if isinstance(head, Detect):
        anchors = head.anchors.detach().cpu().numpy().astype(np.float64)
    return HeadGrid(
        anchors=anchors,
        strides=tuple(head.strides),
        image_size=image_size,
        num_classes=head.num_classes,
    )
