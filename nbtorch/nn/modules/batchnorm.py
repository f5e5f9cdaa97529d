"""Batch and instance normalisation, and their lazy variants."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from ...creation import empty, tensor
from ...dtypes import int64
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .lazy import LazyModuleMixin, is_lazy, uninitialized
from .module import Module


class _NormBase(Module):
    """What normalisations of channels share: parameters, running statistics, text."""

    _version = 2
    _ranks: ClassVar[tuple[int, ...]]  # how many dimensions an input may have

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(
                name, Parameter(empty(num_features, device=device, dtype=dtype)) if wanted else None
            )
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, empty(num_features, device=device, dtype=dtype) if track_running_stats else None)
        count = tensor(0, dtype=int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set running means to 0, running variances to 1 and the count of batches to 0."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weights to 1, biases to 0 and the running statistics to their beginning."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self._ranks:
            expected = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ValueError(f"{self._get_name()}: expected {expected} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *arguments: Any
    ) -> None:
        """Load the state; files of version 1 have no count of batches."""
        version = local_metadata.get("version")
        key = f"{prefix}num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            count = self.num_batches_tracked
            state_dict[key] = tensor(0, dtype=int64) if count is None else count
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *arguments)


class _BatchNorm(_NormBase):
    """Normalises each channel over the batch and all positions.

    In training the statistics are those of the batch, and the running ones move towards them; in evaluation the running
    ones are used, or those of the batch where none are tracked.

    Args:
        num_features: the number of channels C.
        eps: is added to the variance.
        momentum: the share of a batch in the running statistics; None for the mean over all batches.
        affine: whether weight and bias are learned.
        track_running_stats: whether there are running statistics.
        device: where parameters and buffers lie (default: the default device).
        dtype: their type (default: the default dtype).
        bias: whether a bias is learned.

    Attributes:
        weight: (C,), or None; begins with ones.
        bias: (C,), or None; begins with zeros.
        running_mean: (C,), or None; begins with zeros.
        running_var: (C,), or None; begins with ones.
        num_batches_tracked: an int64, or None.

    Raises:
        ValueError: an input of another rank, or in training one value per channel only.

    Source: Ioffe and Szegedy, 2015, arXiv:1502.03167
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1 / float(self.num_batches_tracked)
        used = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if used else None,
            self.running_var if used else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            factor,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):  # noqa: D101
    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):  # noqa: D101
    _ranks = (4,)


class BatchNorm3d(_BatchNorm):  # noqa: D101
    _ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of inputs of any rank; with one process there is nothing to synchronise.

    Args:
        num_features: the number of channels C.
        eps: is added to the variance.
        momentum: the share of a batch in the running statistics; None for the mean over all batches.
        affine: whether weight and bias are learned.
        track_running_stats: whether there are running statistics.
        process_group: taken for PyTorch's sake; there is one process.
        device: where parameters and buffers lie (default: the default device).
        dtype: their type (default: the default dtype).
        bias: whether a bias is learned.

    Shape: (N, C, *), and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html

    >>> import nbtorch
    >>> nbtorch.nn.SyncBatchNorm(3)(nbtorch.randn(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Return the module with all batch normalisations in it replaced by this class, with the same parameters."""
        converted = module
        if isinstance(module, _BatchNorm):
            converted = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(converted, name, getattr(module, name))
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


class _InstanceNorm(_NormBase):
    """Normalises each channel of each sample over all positions.

    Args:
        num_features: the number of channels C.
        eps: is added to the variance.
        momentum: the share of a batch in the running statistics.
        affine: whether weight and bias are learned.
        track_running_stats: whether there are running statistics, which evaluation uses.
        device: where parameters and buffers lie (default: the default device).
        dtype: their type (default: the default dtype).
        bias: whether a bias is learned.

    Attributes:
        weight: (C,), or None; begins with ones.
        bias: (C,), or None; begins with zeros.
        running_mean: (C,), or None; begins with zeros.
        running_var: (C,), or None; begins with ones.
        num_batches_tracked: an int64, or None.

    Raises:
        ValueError: an input of another rank, another number of channels, or with one position only.

    Source: Ulyanov et al., 2016, arXiv:1607.08022
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        self._check_input_dim(input)
        unbatched = self._ranks[0]
        axis = input.dim() - unbatched
        if input.size(axis) != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={axis} to match num_features ({self.num_features}), but got:"
                    f" {input.size(axis)}."
                )
            warnings.warn(
                f"input's size at dim={axis} does not match num_features. You can silence this warning by not passing"
                " in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        if input.dim() == unbatched:
            return self._normalize(input.unsqueeze(0)).squeeze(0)
        return self._normalize(input)

    def _normalize(self, input: Tensor) -> Tensor:
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load the state; files without a version may hold running statistics that nobody tracks."""
        if local_metadata.get("version") is None and not self.track_running_stats:
            found = [name for name in ("running_mean", "running_var") if prefix + name in state_dict]
            if found:
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(found)} for {self._get_name()} with"
                    " track_running_stats=False: remove them from the state_dict or set track_running_stats=True."
                )
            for name in found:
                state_dict.pop(prefix + name)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class InstanceNorm1d(_InstanceNorm):  # noqa: D101
    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):  # noqa: D101
    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):  # noqa: D101
    _ranks = (4, 5)


class _LazyNorm(LazyModuleMixin, _NormBase):
    """A normalisation that takes `num_features` from dimension 1 of its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        for name in ("weight", "bias"):
            setattr(self, name, uninitialized(getattr(self, name), device, dtype))
        for name in ("running_mean", "running_var"):
            self._buffers[name] = uninitialized(self._buffers[name], device, dtype)

    def reset_parameters(self) -> None:
        """Reset what has a shape already."""
        if self.num_features and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters the number of channels of the input."""
        if not self.num_features:  # a state_dict may have brought the parameters already
            self.num_features = input.shape[1]
        if self.has_uninitialized_params():
            for value in (self.weight, self.bias, self.running_mean, self.running_var):
                if is_lazy(value):
                    value.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):  # noqa: D101
    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):  # noqa: D101
    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):  # noqa: D101
    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):  # noqa: D101
    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):  # noqa: D101
    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):  # noqa: D101
    cls_to_become = InstanceNorm3d


_SHAPES = {
    "BatchNorm1d": ("(N, C) or (N, C, L)", (4, 3)),
    "BatchNorm2d": ("(N, C, H, W)", (2, 3, 4, 4)),
    "BatchNorm3d": ("(N, C, D, H, W)", (2, 3, 2, 4, 4)),
    "InstanceNorm1d": ("(N, C, L) or (C, L)", (2, 3, 4)),
    "InstanceNorm2d": ("(N, C, H, W) or (C, H, W)", (2, 3, 4, 4)),
    "InstanceNorm3d": ("(N, C, D, H, W) or (C, D, H, W)", (2, 3, 2, 4, 4)),
}
"""The shapes of inputs, and an example, for the docstrings of the classes of each rank."""

for _name, (_shape, _example) in _SHAPES.items():
    for _class, _arguments in ((globals()[_name], "3"), (globals()[f"Lazy{_name}"], "")):
        _lead = (_BatchNorm if "Batch" in _name else _InstanceNorm).__doc__ or ""
        if not _arguments:
            _lead = f"A `{_name}` that takes `num_features` from its first input; the rest is the same.\n\n    "
        _class.__doc__ = f"""{_lead}
    Shape: {_shape}, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.{_class.__name__}.html

    >>> import nbtorch
    >>> nbtorch.nn.{_class.__name__}({_arguments})(nbtorch.randn{_example}).shape
    torch.Size({list(_example)})
    """
