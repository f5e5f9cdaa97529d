"""What stands beside the library proper, under PyTorch's names."""

from . import checkpoint as checkpoint
from . import dlpack as dlpack
