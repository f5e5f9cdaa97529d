"""Neural networks: modules, containers, parameters, their functions, their initialisation, and utilities."""

from . import attention, common_types, functional, grad, init, modules, parameter
from .factory import factory_kwargs
from .modules import *  # noqa: F403
from .modules import __all__ as _modules
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

from . import utils  # isort: skip  (needs the modules)

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "attention",
    "common_types",
    "factory_kwargs",
    "functional",
    "grad",
    "init",
    "modules",
    "parameter",
    "utils",
    *_modules,
]
