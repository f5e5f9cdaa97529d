"""Neural networks: modules, containers, parameters, their functions and their initialisation."""

from . import functional, init, modules
from .modules import *  # noqa: F403
from .modules import __all__ as _modules
from .parameter import Buffer, Parameter

__all__ = ["Buffer", "Parameter", "functional", "init", "modules", *_modules]
