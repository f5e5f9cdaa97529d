"""nbtorch: PyTorch's interface with every kernel written in Python."""

from ._version import __version__ as __version__
