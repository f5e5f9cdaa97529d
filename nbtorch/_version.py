"""The version of nbtorch, read by the packaging and by `nbtorch.__version__`."""

__version__ = "0.1.0"
