"""Exchange of memory by DLPack, under PyTorch's name: see `nbtorch.exchange`."""

from ..exchange import DLDeviceType, from_dlpack, to_dlpack

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]
