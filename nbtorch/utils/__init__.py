"""What stands beside the library proper, under PyTorch's names."""

from . import dlpack as dlpack
