"""Neural networks: modules, containers, parameters, their functions, their initialisation, and utilities."""

from . import functional, init, modules
from .modules import *  # noqa: F403
from .modules import __all__ as _modules
from .parameter import Buffer, Parameter

from . import utils  # isort: skip  (needs the modules)

__all__ = ["Buffer", "Parameter", "functional", "init", "modules", "utils", *_modules]
