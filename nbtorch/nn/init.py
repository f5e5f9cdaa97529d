"""Initial values for parameters, written into them in place.

Every function takes a tensor, fills it without recording anything, and returns it. Random ones take a `generator`
(default: the global one, see `nbtorch.manual_seed`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from ..autograd.grad_mode import no_grad
from ..creation import empty
from ..device import array_module
from ..dtypes import float64
from ..tensor import Tensor

_GAINS = {
    "linear": 1,
    "conv1d": 1,
    "conv2d": 1,
    "conv3d": 1,
    "conv_transpose1d": 1,
    "conv_transpose2d": 1,
    "conv_transpose3d": 1,
    "sigmoid": 1,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance of activations across a nonlinearity.

    Args:
        nonlinearity: the name of a function in `nbtorch.nn.functional`.
        param: the negative slope, for `'leaky_relu'` (default: 0.01).

    Raises:
        ValueError: an unknown name, or a slope that is no number.

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.calculate_gain

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {slope} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    try:
        return _GAINS[nonlinearity]
    except (KeyError, TypeError):
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}") from None


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with values drawn uniformly from [a, b).

    >>> import nbtorch
    >>> bool((uniform_(nbtorch.empty(100), -2.0, -1.0) < 0).all())
    True
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with values drawn from the normal distribution N(mean, std²)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Fill with values drawn from the normal distribution N(mean, std²) restricted to [a, b].

    The inverse of the distribution function is applied to uniform values. The side of the smaller tail is used, so
    that intervals far from the mean keep their precision.

    Raises:
        ZeroDivisionError: `std` is 0.
        RuntimeError: `a` is greater than `b`.

    Source: inverse transform sampling.

    >>> import nbtorch
    >>> values = trunc_normal_(nbtorch.empty(1000), std=3.0)
    >>> bool((values.abs() <= 2).all())
    True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_."
            " The distribution of values may be incorrect.",
            stacklevel=2,
        )
    low, high = (a - mean) / std, (b - mean) / std
    flip = low + high > 0
    if flip:
        low, high = -high, -low
    uniform = empty(tuple(tensor.shape), dtype=float64, device=tensor.device)
    uniform_(uniform, _normal_cdf(low), _normal_cdf(high), generator)
    xp = array_module(tensor.device)
    standard = xp.clip(_inverse_normal_cdf(uniform._array, xp), low, high)
    values = xp.clip(mean + std * (-standard if flip else standard), a, b)
    return _write(tensor, values)


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _inverse_normal_cdf(p: Any, xp: Any) -> Any:
    """Return the x of which a share p of the standard normal distribution lies below, to about 16 digits.

    Source: M. J. Wichura, Algorithm AS 241: The Percentage Points of the Normal Distribution, Applied Statistics 37
    (1988), routine PPND16.
    """
    q = p - 0.5
    r = 0.180625 - q * q
    centre = q * _horner(_CENTRE[0], r) / _horner(_CENTRE[1], r)
    tiny = 5e-324
    t = xp.sqrt(-xp.log(xp.maximum(xp.minimum(p, 1 - p), tiny)))
    near = _horner(_NEAR[0], t - 1.6) / _horner(_NEAR[1], t - 1.6)
    far = _horner(_FAR[0], t - 5.0) / _horner(_FAR[1], t - 5.0)
    tail = xp.where(t <= 5.0, near, far)
    return xp.where(xp.abs(q) <= 0.425, centre, xp.where(q < 0, -tail, tail))


def _horner(coefficients: Sequence[float], x: Any) -> Any:
    """Evaluate a polynomial, its highest coefficient first."""
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


# Numerator and denominator of each of the three approximations.
_CENTRE = (
    (
        2.50908_09287_30122_6727e3,
        3.34305_75583_58812_8105e4,
        6.72657_70927_00870_0853e4,
        4.59219_53931_54987_1457e4,
        1.37316_93765_50946_1125e4,
        1.97159_09503_06551_4427e3,
        1.33141_66789_17843_7745e2,
        3.38713_28727_96366_6080e0,
    ),
    (
        5.22649_52788_52854_5610e3,
        2.87290_85735_72194_2674e4,
        3.93078_95800_09271_0610e4,
        2.12137_94301_58659_5867e4,
        5.39419_60214_24751_1077e3,
        6.87187_00749_20579_0830e2,
        4.23133_30701_60091_1252e1,
        1.0,
    ),
)
_NEAR = (
    (
        7.74545_01427_83414_07640e-4,
        2.27238_44989_26918_45833e-2,
        2.41780_72517_74506_11770e-1,
        1.27045_82524_52368_38258e0,
        3.64784_83247_63204_60504e0,
        5.76949_72214_60691_40550e0,
        4.63033_78461_56545_29590e0,
        1.42343_71107_49683_57734e0,
    ),
    (
        1.05075_00716_44416_84324e-9,
        5.47593_80849_95344_94600e-4,
        1.51986_66563_61645_71966e-2,
        1.48103_97642_74800_74590e-1,
        6.89767_33498_51000_04550e-1,
        1.67638_48301_83803_84940e0,
        2.05319_16266_37758_82187e0,
        1.0,
    ),
)
_FAR = (
    (
        2.01033_43992_92288_13265e-7,
        2.71155_55687_43487_57815e-5,
        1.24266_09473_88078_43860e-3,
        2.65321_89526_57612_30930e-2,
        2.96560_57182_85048_91230e-1,
        1.78482_65399_17291_33580e0,
        5.46378_49111_64114_36990e0,
        6.65790_46435_01103_77720e0,
    ),
    (
        2.04426_31033_89939_78564e-15,
        1.42151_17583_16445_88870e-7,
        1.84631_83175_10054_68180e-5,
        7.86869_13114_56132_59100e-4,
        1.48753_61290_85061_48525e-2,
        1.36929_88092_27358_05310e-1,
        5.99832_20655_58879_37690e-1,
        1.0,
    ),
)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity: ones on the diagonal, zeros elsewhere.

    Raises:
        ValueError: the tensor has not 2 dimensions.
    """
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got {tensor.dim()}")
    return _write(tensor, array_module(tensor.device).eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it passes on as many channels unchanged as it can.

    Args:
        tensor: (O, C / groups, *kernel) with one, two or three kernel dimensions.
        groups: the groups of the convolution, each of which gets its own identity.

    Raises:
        ValueError: another rank, or `groups` does not divide O.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(f"Only tensors with 3, 4, or 5 dimensions are supported, got {tensor.dim()}")
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups != 0:
        raise ValueError(f"dim 0 must be divisible by groups, got {out_channels} and {groups}")
    per_group = out_channels // groups
    values = array_module(tensor.device).zeros(tuple(tensor.shape))
    centre = tuple(extent // 2 for extent in kernel)
    for group in range(groups):
        for channel in range(min(per_group, in_channels)):
            values[(group * per_group + channel, channel, *centre)] = 1
    return _write(tensor, values)


def fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs reach an output element through a weight, and how many outputs an input element reaches.

    Raises:
        ValueError: the tensor has fewer than 2 dimensions.
    """
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    outputs, inputs, *kernel = tensor.shape
    field = math.prod(kernel)
    return inputs * field, outputs * field


_calculate_fan_in_and_fan_out = fan_in_and_fan_out  # PyTorch's name, which programs use in spite of its underscore


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill uniformly from ±gain · sqrt(6 / (fan_in + fan_out)).

    Args:
        tensor: a weight, of 2 or more dimensions.
        gain: see `calculate_gain`.
        generator: the source of random numbers.

    Source: X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    """
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from N(0, std²) with std = gain · sqrt(2 / (fan_in + fan_out)); arguments as in `xavier_uniform_`."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = fan_in_and_fan_out(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Fill uniformly from ±gain · sqrt(3 / fan).

    Args:
        tensor: a weight, of 2 or more dimensions.
        a: the negative slope of the rectifier that follows, for `'leaky_relu'`.
        mode: `'fan_in'` keeps the variance in forward, `'fan_out'` in backward.
        nonlinearity: what follows, see `calculate_gain`.
        generator: the source of random numbers.

    Raises:
        ValueError: an unknown mode or nonlinearity, or fewer than 2 dimensions.

    Source: K. He et al., Delving deep into rectifiers, 2015, arXiv:1502.01852.
    """
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Fill from N(0, std²) with std = gain / sqrt(fan); arguments as in `kaiming_uniform_`."""
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _is_empty(tensor: Tensor) -> bool:
    if 0 not in tensor.shape:
        return False
    warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return True


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ("fan_in", "fan_out")
    if not isinstance(mode, str) or mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {list(modes)}")
    fan = fan_in_and_fan_out(tensor)[modes.index(mode.lower())]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with a random (semi-)orthogonal matrix, the dimensions after the first taken as one.

    Args:
        tensor: of 2 or more dimensions.
        gain: a factor for all values.
        generator: the source of random numbers.

    Raises:
        ValueError: fewer than 2 dimensions.

    Source: A. Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2013,
    arXiv:1312.6120; the signs as in F. Mezzadri, How to generate random matrices from the classical compact groups,
    arXiv:math-ph/0609050.

    >>> import nbtorch
    >>> q = orthogonal_(nbtorch.empty(2, 3))
    >>> bool(((q @ q.T - nbtorch.eye(2)).abs() < 1e-6).all())
    True
    """
    if tensor.dim() < 2:
        raise ValueError(f"Only tensors with 2 or more dimensions are supported, got {tensor.dim()}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    xp = array_module(tensor.device)
    gaussian = empty(max(rows, columns), min(rows, columns), dtype=float64, device=tensor.device)
    q, r = xp.linalg.qr(normal_(gaussian, generator=generator)._array)
    q = q * xp.sign(xp.diag(r))  # the factors become unique, and q uniformly distributed
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tuple(tensor.shape)))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix from N(0, std²) and set a share of the elements in each column to zero.

    Args:
        tensor: of 2 dimensions.
        sparsity: the share of zeros in each column, rounded up.
        std: the standard deviation of the other values.
        generator: the source of random numbers.

    Raises:
        ValueError: the tensor has not 2 dimensions.

    Source: J. Martens, Deep learning via Hessian-free optimization, 2010.
    """
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got {tensor.dim()}")
    rows, _ = tensor.shape
    xp = array_module(tensor.device)
    normal_(tensor, 0.0, std, generator)
    order = empty(tuple(tensor.shape), dtype=float64, device=tensor.device)
    shuffled = xp.argsort(uniform_(order, generator=generator)._array, axis=0)
    values = tensor._array.copy()
    xp.put_along_axis(values, shuffled[: math.ceil(sparsity * rows)], 0, axis=0)
    return _write(tensor, values)


def _write(tensor: Tensor, values: Any) -> Tensor:
    """Copy an array into a tensor, outside of the graph."""
    with no_grad():
        return tensor.copy_(Tensor._wrap(values, tensor.device))


def _deprecated(function: Any) -> Any:
    """Return a function's former name, without the underscore."""
    name = function.__name__[:-1]

    def former(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{function.__name__}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    former.__name__ = former.__qualname__ = name
    former.__doc__ = f"Former name of `{function.__name__}`."
    return former


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
