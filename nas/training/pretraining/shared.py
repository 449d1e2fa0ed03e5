"""Teaching a supernet: every step another candidate, whose weights are the network's own.

A step draws a candidate, reads its weights, teaches it one batch and takes its gradients back
(one path at a time: arXiv 1904.00420; the largest and the smallest come more often, as in BigNAS,
arXiv 2003.11142, section 3). Everything drawn follows from the seed and the step's number.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.data.images import ImageSet
from nas.detector.builder import Detector, build_detector
from nas.detector.pretrained.recalibrate import recalibrate
from nas.detector.supernet import ROLES, Supernet
from nas.space.choices import Option
from nas.space.spec import ModelSpec
from nas.training.batches import Wanted
from nas.training.losses.loss import head_loss
from nas.training.metrics import to_input
from nas.training.optimizer import set_schedule
from nas.training.precision import autocast, autocast_type, keep_single
from nas.training.pretraining.mixture import mixed_plan
from nas.training.pretraining.sets import TaughtSet
from nas.training.progress import Lap, Progress, TrainingError
from nas.training.settings import TrainSettings

ROUND: Final = 16
"""Of so many steps the first teaches the largest candidate, the middle one the smallest."""

DRAW: Final = 3
"""What the candidates' random state is told apart by from that of pictures and sets."""


@dataclass(frozen=True, kw_only=True)
class DepthGroup:
    """Weights of one role and depth, which learn at one rate: from `start` on, a view of them."""

    role: str
    depth: int
    start: int
    parameter: nn.Parameter


class SharedTraining:
    """A supernet while it is taught on several sets at once; `values` are its weights (size,)."""

    def __init__(
        self,
        supernet: Supernet,
        values: Tensor,
        sets: Sequence[TaughtSet],
        part: ImageSet,
        settings: TrainSettings,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.supernet, self.settings, self.seed = supernet, settings, seed
        self.device = torch.device(device)
        self.steps = settings.total_steps(len(part))
        self.step = 0
        self.plan = mixed_plan(supernet.faces[0].detector, sets, part, settings, seed)
        self.lap_steps = settings.epoch_steps(len(part))
        self.images = len(part)
        self.values = values.clone().to(self.device)
        self.average = self.values.clone()
        self.groups = self._groups()
        self._starts = [group.start for group in self.groups]
        self.optimizer = self._optimizer()
        self.kind = autocast_type(self.device, amp=settings.amp, cpu_bf16=settings.cpu_bf16)

    def _groups(self) -> list[DepthGroup]:
        """The weights by role and depth, in their order."""
        found: list[DepthGroup] = []
        slots = [slot for slot in self.supernet.slots.values() if slot.role != ROLES[-1]]
        for (role, depth), own in itertools.groupby(slots, key=lambda one: (one.role, one.depth)):
            several = list(own)
            start, stop = several[0].start, several[-1].stop
            # A view: what the optimiser does is seen in `values`.
            parameter = nn.Parameter(self.values[start:stop])
            parameter.grad = torch.zeros_like(parameter)
            found.append(DepthGroup(role=role, depth=depth, start=start, parameter=parameter))
        return found

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW; the learning rate rises evenly from the stem to the neck (first_row_lr)."""
        settings = self.settings
        deepest = max(group.depth for group in self.groups)
        first = settings.first_row_lr
        groups = [
            {
                "params": [group.parameter], "role": group.role,
                "lr_share": first + (1 - first) * group.depth / deepest,
                "weight_decay": settings.weight_decay if group.role == "weights" else 0.0,
            }
            for group in self.groups
            if group.depth >= settings.frozen_stages
        ]  # fmt: skip
        betas = (settings.momentum, settings.beta2)
        return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=True)

    def group_of(self, index: Tensor) -> DepthGroup:
        """The group that a tensor with these indices is of."""
        first = int(index.flatten()[0])
        return self.groups[bisect.bisect_right(self._starts, first) - 1]

    def candidate(self, step: int) -> ModelSpec:
        """What a step teaches."""
        rng = np.random.default_rng([self.seed, DRAW, step])

        def choose(name: str, options: tuple[Option, ...]) -> Option:
            options = self.supernet.offered(name, options)
            if isinstance(options[0], str) or step % ROUND not in (0, ROUND // 2):
                return options[int(rng.integers(len(options)))]
            return options[-1 if step % ROUND == 0 else 0]

        return self.supernet.adapted(self.supernet.space.build(choose).spec)

    def read(self, spec: ModelSpec, values: Tensor) -> tuple[Detector, dict[str, Tensor]]:
        """A candidate with its weights of `values`, and which of the numbers they are."""
        detector = build_detector(spec)
        indices = self.supernet.indices(detector)
        for name, parameter in detector.named_parameters():
            parameter.data = values[indices[name].to(values.device)]
            is_frozen = self.group_of(indices[name]).depth < self.settings.frozen_stages
            parameter.requires_grad_(not is_frozen)
        for name, buffer in detector.named_buffers():
            if name in indices:
                buffer.copy_(values[indices[name].to(values.device)])
        return detector.to(self.device, memory_format=torch.channels_last), indices  # type: ignore[call-overload]

    def one_step(self, images: NDArray[np.uint8], targets: Wanted) -> Tensor:
        """Teaches one batch; returns the parts of its loss (3,). TrainingError where not finite."""
        self.lr = set_schedule(self.optimizer, self.step, self.steps, self.settings)
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        detector, indices = self.read(self.candidate(self.step), self.values)
        detector.train()
        if self.device.type == "cpu" and self.kind != torch.float32:
            keep_single(detector)
        with autocast(self.device, self.kind):
            raw = detector(to_input(images, self.device))
        grid = self.plan.grid_at(self.step)
        losses = head_loss(raw, targets, grid, self.settings.loss)
        if not bool(losses.parts.isfinite().all()):
            raise TrainingError(
                f"training, step {self.step + 1} of {self.steps}", "the loss stays finite",
                "nan or infinity", f"Lower lr ({self.settings.lr:g})",
            )  # fmt: skip
        losses.total.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm > 0:
            nn.utils.clip_grad_norm_(detector.parameters(), self.settings.clip_norm)
        self._take(detector, indices)
        self.optimizer.step()
        self.step += 1
        decay = 1 - 1 / (1 + self.settings.ema_share * self.step)
        self.average.lerp_(self.values, 1 - min(self.settings.ema_decay, decay))
        return losses.parts

    def _take(self, detector: Detector, indices: Mapping[str, Tensor]) -> None:
        """Writes a candidate's gradients to where its weights came from; all others are zero."""
        for group in self.groups:
            assert group.parameter.grad is not None
            group.parameter.grad.zero_()
        for name, own in detector.named_parameters():
            if own.grad is None:
                continue
            group = self.group_of(indices[name])
            assert group.parameter.grad is not None
            places = indices[name].to(self.device).flatten() - group.start
            group.parameter.grad[places] = own.grad.float().flatten()

    @torch.no_grad()
    def finished(self, batches: int) -> Tensor:
        """The averaged weights (size,), with statistics of each face measured on so many batches.

        They are those of the end of the training: no mosaic, the whole image size.
        """
        supernet = self.supernet
        supernet.scatter(self.average.cpu())
        for face in supernet.faces:
            first = max(self.steps, self.plan.closing_step)
            own = face.detector.to(self.device)
            inputs = (
                to_input(self.plan.make(step)[0], self.device)
                for step in range(first, first + batches)
            )
            recalibrate(own, inputs)
            own.cpu()
        return supernet.gathered()

    def state(self) -> dict[str, Any]:
        """All that going on takes."""
        return {
            "step": self.step, "steps": self.steps, "seed": self.seed,
            "values": self.values.cpu(), "average": self.average.cpu(),
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state. TrainingError where it is of another training."""
        if (state.get("steps"), state.get("seed")) != (self.steps, self.seed):
            raise TrainingError(
                "checkpoint",
                f"it is of a training of {self.steps} steps with seed {self.seed}",
                f"{state.get('steps')} steps, seed {state.get('seed')}",
                "Resume with the settings that it was started with",
            )
        self.step = int(state["step"])
        self.values.copy_(state["values"])
        self.average.copy_(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def teach(
    training: SharedTraining,
    workers: int,
    on_step: Callable[[Progress], None],
    on_lap: Callable[[SharedTraining], None],
) -> Tensor:
    """Teaches to the end, and returns the weights (size,) with their statistics.

    on_step   hears of every step, with the mean losses of a pass where one ends
    on_lap    hears at the end of every pass, and may keep the state
    """
    begin, first = time.perf_counter(), training.step
    sums = torch.zeros(3, device=training.device)
    with torch.random.fork_rng(devices=[]):
        for images, targets in training.plan.run(training.step, training.steps, workers):
            losses = training.one_step(images, targets)
            sums += losses
            lap = None
            if training.step % training.lap_steps == 0 or training.step == training.steps:
                box, objectness, classes = (sums / (training.step - first)).tolist()
                lap = Lap(
                    step=training.step, epoch=training.plan.seen(training.step) / training.images,
                    lr=training.lr, box=box, objectness=objectness, classes=classes,
                    map50_95=None, map50=None, seconds=time.perf_counter() - begin,
                )  # fmt: skip
                sums, first = torch.zeros_like(sums), training.step
                on_lap(training)
            loss = float(losses.sum())
            on_step(Progress(step=training.step, steps=training.steps, loss=loss, lap=lap))
        return training.finished(max(1, training.settings.recalibration_batches))
