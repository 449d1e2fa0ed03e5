"""What a row of a model YAML may name: one file a family, one record a module.

A `Module` says which arguments it takes, which blocks a row of it stands for and in which ops such
a block is drawn. Every list of modules in the house is made from `MODULES`.
"""

from nas.space.modules.activation import ACTIVATIONS
from nas.space.modules.argument import Argument, SpecError
from nas.space.modules.every import HEADS, MODULES, check_module, output_size
from nas.space.modules.module import Family, Module, RowInput

__all__ = [
    "ACTIVATIONS",
    "HEADS",
    "MODULES",
    "Argument",
    "Family",
    "Module",
    "RowInput",
    "SpecError",
    "check_module",
    "output_size",
]
