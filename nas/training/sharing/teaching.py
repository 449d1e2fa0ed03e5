"""Teaching shared weights: every step another candidate, whose weights are the network's own.

A step draws a candidate, reads its weights, teaches it one batch at its own image size and takes
its gradients back (one path at a time: arXiv 1904.00420). Of ROUND steps one teaches the largest
candidate and one the smallest, since all others lie between them (the sandwich of BigNAS, arXiv
2003.11142, section 3, over steps instead of within each); their names and words (operators, heads,
activations) are drawn all the same. Everything drawn follows from the seed and the step's number.

The optimiser is one for all. Every step's gradient is brought to one length, since AdamW measures
all steps by the longest: those of a head without anchors are hundreds of times those of one with,
whose candidates would teach the shared weights next to nothing. (150 steps on `bccd`, mAP50-95 of
six random candidates with anchors: 0.014 and 0.037 in two trials instead of 0.004; of seven
without, 0.029 and 0.055 instead of 0.035.) A weight that a step's candidate does not have goes on
by its momentum and its decay. What is kept at the end is the average of the weights, as of any
training.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from nas.detector.builder import Detector
from nas.detector.faces import ROLES, head_kind
from nas.detector.supernet import Supernet
from nas.space.choices import Option
from nas.space.search_space import Candidate
from nas.training.losses.loss import head_loss
from nas.training.metrics import to_input
from nas.training.optimizer import set_schedule
from nas.training.precision import autocast, autocast_type, keep_single
from nas.training.progress import Progress, TrainingError
from nas.training.settings import TrainSettings
from nas.training.sharing.begin import Beginning, Load
from nas.training.under_way import plan_of

ROUND: Final = 16
"""Of so many steps the first teaches the largest candidate, the middle one the smallest."""

SHORTEST: Final = 1e-12
"""A gradient that is shorter is none, and stays so."""

RECENT: Final = 0.1
"""What a step counts in the loss that is told of its kind of head."""

DRAW: Final = 3
"""What the candidates' random state is told apart by from that of the pictures."""


class SharedTraining:
    """Shared weights while they are taught: `values` (size,), and `average`, which trails them."""

    def __init__(
        self,
        supernet: Supernet,
        beginning: Beginning,
        load: Load,
        settings: TrainSettings,
        seed: int,
        device: str = "cpu",
    ) -> None:
        """The supernet's `build` makes candidates at the image size that they are taught at."""
        assert settings.steps is not None, "it is counted in steps"
        self.supernet, self.settings, self.seed = supernet, settings, seed
        self.device = torch.device(device)
        self.steps, self.step = settings.steps, 0
        self.core_s = 0.0  # of all threads, those of earlier sittings too
        self._losses: dict[str, float] = {}  # recent ones, by the kind of head
        self._load = load
        self.values = beginning.values.clone().to(self.device)
        self.average = self.values.clone()
        self.gradient = torch.zeros_like(self.values)
        self.is_frozen = torch.zeros(supernet.size, dtype=torch.bool)
        for name in beginning.frozen:
            slot = supernet.slots[name]
            self.is_frozen[slot.start : slot.stop] = True
        self.optimizer = self._make_optimizer(beginning.frozen)
        kind = autocast_type(self.device, amp=settings.amp, cpu_bf16=settings.cpu_bf16)
        # float16 would want its gradients scaled.
        self.kind = torch.float32 if kind == torch.float16 else kind

    def _make_optimizer(self, frozen: frozenset[str]) -> torch.optim.Optimizer:
        """AdamW over what learns: views of `values`, so that a step is seen there."""
        settings = self.settings
        slots = self.supernet.slots.items()
        groups = []
        for (role, is_frozen), run in itertools.groupby(
            slots, key=lambda pair: (pair[1].role, pair[0] in frozen)
        ):
            own = [slot for _, slot in run]
            if is_frozen or role == ROLES[-1]:
                continue
            parameter = nn.Parameter(self.values[own[0].start : own[-1].stop])
            parameter.grad = self.gradient[own[0].start : own[-1].stop]
            decay = settings.weight_decay if role == "weights" else 0.0
            groups.append(
                {"params": [parameter], "role": role, "lr_share": 1.0, "weight_decay": decay}
            )
        betas = (settings.momentum, settings.beta2)
        return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=True)

    @property
    def loss(self) -> float:
        """The recent loss per image; the mean over kinds of head, whose own differ a hundredfold.

        NaN before the first step.
        """
        own = list(self._losses.values())
        return float(np.mean(own)) if own else float("nan")

    def candidate(self, step: int) -> Candidate:
        """What a step teaches."""
        rng = np.random.default_rng([self.seed, DRAW, step])

        def choose(name: str, options: tuple[Option, ...], /) -> Option:
            if isinstance(options[0], str) or step % ROUND not in (0, ROUND // 2):
                return options[int(rng.integers(len(options)))]
            return options[-1 if step % ROUND == 0 else 0]

        return self.supernet.build(choose)

    def one_step(self) -> Tensor:
        """Teaches the next candidate; the parts of its loss (3,). TrainingError where not finite.

        Batch norms work with the batch's own statistics: a candidate's are measured when it is
        graded.
        """
        begin = time.process_time()
        set_schedule(self.optimizer, self.step, self.steps, self.settings)
        candidate = self.candidate(self.step)
        detector, indices = self._read(candidate)
        part = self._load(candidate.image_size)
        plan = plan_of(detector, part, self.settings, self.seed)
        images, targets = plan.make(self.step)
        with autocast(self.device, self.kind):
            raw = detector(to_input(images, self.device))
        losses = head_loss(raw, targets, plan.grid_at(self.step), self.settings.loss)
        losses.total.backward()  # type: ignore[no-untyped-call]
        self.gradient.zero_()
        for name, own in detector.named_parameters():
            if own.grad is not None:
                self.gradient[indices[name].to(self.device)] = own.grad.float()
        length = self.gradient.norm()
        if not bool(losses.parts.isfinite().all() & length.isfinite()):
            raise TrainingError(
                f"teaching shared weights, step {self.step + 1} of {self.steps}",
                "the loss and its gradient stay finite", "nan or infinity",
                f"Lower lr ({self.settings.lr:g})",
            )  # fmt: skip
        self.gradient.div_(length.clamp(min=SHORTEST))
        self.optimizer.step()
        self.step += 1
        decay = 1 - 1 / (1 + self.settings.ema_share * self.step)
        self.average.lerp_(self.values, 1 - min(self.settings.ema_decay, decay))
        kind, loss = head_kind(candidate.spec), float(losses.parts.sum())
        self._losses[kind] = loss + (1 - RECENT) * (self._losses.get(kind, loss) - loss)
        self.core_s += time.process_time() - begin
        return losses.parts

    def _read(self, candidate: Candidate) -> tuple[Detector, Mapping[str, Tensor]]:
        """A candidate with its weights as they are now, ready to learn, and their numbers."""
        detector, indices = self.supernet.read(candidate.spec, self.values)
        for name, parameter in detector.named_parameters():
            is_frozen = bool(self.is_frozen[int(indices[name].flatten()[0])])
            parameter.requires_grad_(not is_frozen)
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        detector.to(self.device, memory_format=layout).train()  # type: ignore[call-overload]
        if self.device.type == "cpu" and self.kind != torch.float32:
            keep_single(detector)
        return detector, indices

    def state(self) -> dict[str, Any]:
        """All that going on takes."""
        return {
            "step": self.step, "steps": self.steps, "seed": self.seed,
            "core_s": self.core_s,
            "values": self.values.cpu(), "average": self.average.cpu(),
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state. TrainingError where it is of another training, or damaged."""
        try:
            if (state["steps"], state["seed"]) != (self.steps, self.seed):
                raise ValueError(f"{state['steps']} steps, seed {state['seed']}")
            self.values.copy_(state["values"])
            self.average.copy_(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
            self.core_s = float(state.get("core_s", 0.0))
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                "the state of shared weights",
                f"it is of a training of {self.steps} steps with seed {self.seed}",
                " ".join(f"{type(error).__name__}: {error}".split())[:200],
                "Delete the .state.pt in the cache: the teaching then begins again",
            ) from error


def teach(
    training: SharedTraining,
    *,
    keep_every: int,
    keep: Callable[[SharedTraining], None],
    on_step: Callable[[Progress], None],
) -> Tensor:
    """Teaches to the end, and returns the averaged weights (size,) on the CPU.

    keep     is called after every `keep_every` steps, and may write the state down
    on_step  hears of every step
    """
    while training.step < training.steps:
        training.one_step()
        on_step(Progress(step=training.step, steps=training.steps, loss=training.loss, lap=None))
        if training.step % keep_every == 0 and training.step < training.steps:
            keep(training)
    return training.average.cpu()
