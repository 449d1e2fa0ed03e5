"""Between the space's words and Optuna's: samplers, distributions, choices.

Numbers are ordinal: Optuna gets the index of the option (`suggest_int`), so that neighbours are
near each other however the options are spaced. Words are categorical.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial

from nas.space.search_space import Choose

SamplerName = Literal["surrogate", "tpe", "nsgaii", "random"]

STARTUP: Final = 40
"""Trials that TPE draws at random before it models anything. Optuna's 10 are too few for some forty
choices: it then exploits one corner of the front and repeats itself (benchmarks/samplers.py)."""

POPULATION: Final = 20
"""NSGA-II's: ten generations in the default budget. Optuna's 50 would leave four."""

Option = TypeVar("Option", int, float, str, int | str)
Options = Mapping[str, tuple[Any, ...]]


def make_sampler(name: SamplerName, seed: int, number: int) -> BaseSampler:
    """The sampler that draws trial `number`, and that one alone.

    Its random state follows from seed and number, not from what was drawn before: a search that
    was killed and goes on draws what it would have drawn. Optuna's samplers keep everything else
    they know in the study. The surrogate's is another: nas.study.surrogate.sampler.
    """
    state = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name == "tpe":
        # One joint density: as good as one for each parameter, Optuna's default for two
        # objectives, at a third of the cost, and it repeats itself a quarter as often.
        return TPESampler(seed=state, multivariate=True, n_startup_trials=STARTUP)
    if name == "nsgaii":
        return NSGAIISampler(seed=state, population_size=POPULATION)
    return RandomSampler(seed=state)


def chooser(trial: Trial) -> Choose:
    """What asks the trial for each choice of a space."""

    def choose(name: str, options: tuple[Option, ...]) -> Option:
        if is_ordinal(options):
            return options[trial.suggest_int(name, 0, len(options) - 1)]
        picked = trial.suggest_categorical(name, options)
        return options[options.index(picked)]

    return choose


def distributions(options: Options) -> dict[str, BaseDistribution]:
    """Optuna's distribution for each choice, the same that `chooser` asks with."""
    return {
        name: IntDistribution(0, len(values) - 1)
        if is_ordinal(values)
        else CategoricalDistribution(values)
        for name, values in options.items()
    }


def to_params(choices: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Optuna's parameters for choices in the space's words."""
    return {
        name: values.index(choices[name]) if is_ordinal(values) else choices[name]
        for name, values in options.items()
    }


def from_params(params: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Choices in the space's words for Optuna's parameters."""
    return {
        name: values[params[name]] if is_ordinal(values) else params[name]
        for name, values in options.items()
    }


def is_ordinal(options: tuple[Any, ...]) -> bool:
    """Whether the options are numbers."""
    return not isinstance(options[0], str)
