"""Elementary functions for formulas that are written once for numbers on the CPU, numbers on CUDA, and tensors.

In code compiled for the CPU these are straight-line arithmetic on one type, so that the compiler turns a loop over them
into vector instructions; the mathematics library's own functions would be called one number at a time. On CUDA they are
the functions of libdevice (`kernels.cuda.target` says so). Called from Python they take a number, or anything that has
methods of these names, such as a tensor: that is how the derivative of a kernel is itself differentiated.

Errors stay within two units in the last place, in float32 and in float64, but for the quick functions.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from nbtorch.kernels.jit import njit
from numba import types
from numba.extending import intrinsic, overload

LOG2_E = 1 / math.log(2)
SQRT_HALF = math.sqrt(0.5)
INVERSE_SQRT_2PI = 1 / math.sqrt(2 * math.pi)


def number(value: Any, like: Any) -> Any:
    """Return a constant in the type of `like`; a literal of Python's would carry float32 arithmetic on in float64."""
    return type(like)(value) if isinstance(like, np.floating) else value


def select(condition: Any, chosen: Any, other: Any) -> Any:
    """Return `chosen` where the condition holds, else `other`; both are evaluated."""
    if not hasattr(condition, "logical_not"):
        return chosen if condition else other
    if hasattr(chosen, "where"):
        return chosen.where(condition, other)
    return other.where(condition.logical_not(), chosen)


def maximum(x: Any, y: Any) -> Any:
    """Return the greater of two numbers; NaN where one of them is."""
    return x.maximum(y) if hasattr(x, "maximum") else np.maximum(x, y)


def sqrt(x: Any) -> Any:
    """Return the square root."""
    return x.sqrt() if hasattr(x, "sqrt") else np.sqrt(x)


def exp(x: Any) -> Any:
    """Return e to the power of x."""
    return x.exp() if hasattr(x, "exp") else np.exp(x)


def exp_below(x: Any) -> Any:
    """Return e to the power of x where x is at most 0, at three quarters of the cost of `exp`."""
    return exp(x)


def expm1(x: Any) -> Any:
    """Return exp(x) - 1, accurate near 0."""
    return x.expm1() if hasattr(x, "expm1") else np.expm1(x)


def log(x: Any) -> Any:
    """Return the natural logarithm."""
    return x.log() if hasattr(x, "log") else np.log(x)


def log1p(x: Any) -> Any:
    """Return log(1 + x), accurate near 0, for x >= -1."""
    return x.log1p() if hasattr(x, "log1p") else np.log1p(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return x.tanh() if hasattr(x, "tanh") else np.tanh(x)


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x))."""
    return x.sigmoid() if hasattr(x, "sigmoid") else 1 / (1 + np.exp(-x))


def quick_tanh(x: Any) -> Any:
    """Return the hyperbolic tangent; in float32 on the CPU in half the time, with errors up to five last places."""
    return tanh(x)


def quick_sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)); in float32 on the CPU in half the time, and 0 where x < -87."""
    return sigmoid(x)


def normal_cdf(x: Any) -> Any:
    """Return the share of the normal distribution below x."""
    return 0.5 * (1 + (x * SQRT_HALF).erf()) if hasattr(x, "erf") else x.dtype.type(0.5 * math.erfc(-x * SQRT_HALF))


def normal_density(x: Any) -> Any:
    """Return the density of the normal distribution at x."""
    return INVERSE_SQRT_2PI * exp(-0.5 * x * x)


@intrinsic
def _number(typing_context, value, like):
    """Convert a number to the type of another."""

    def emit(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], signature.args[0], signature.return_type)

    return like(value, like), emit


@intrinsic
def _select(typing_context, condition, chosen, other):
    """Choose one of two numbers without a branch: behind one the compiler would hide work from vector instructions."""

    def emit(context, builder, signature, arguments):
        return builder.select(*arguments)

    return other(condition, chosen, other), emit


def _polynomial(single: Sequence[float], double: Sequence[float]) -> Any:
    """Make the function of x that evaluates a polynomial, given for each type by its coefficients from the highest."""

    @intrinsic
    def evaluate(typing_context, x):
        def emit(context, builder, signature, arguments):
            kind = context.get_value_type(x)
            coefficients = [ir.Constant(kind, float(c)) for c in (single if x == types.float32 else double)]
            result = coefficients[0]
            for coefficient in coefficients[1:]:
                product = builder.fmul(result, arguments[0], flags=("contract",))
                result = builder.fadd(product, coefficient, flags=("contract",))
            return result

        return x(x), emit

    return evaluate


def _constant(single: float, double: float) -> Any:
    """Make the function of x that returns a constant in x's type."""
    return _polynomial([np.float32(single)], [double])


def _factorials(last: int, first: int) -> list[float]:
    """Return 1/k! from the last k down to the first."""
    return [1 / math.factorial(k) for k in range(last, first - 1, -1)]


def _odd(terms: int) -> list[float]:
    """Return 2/(2k + 1) from the last of so many k >= 1 down to 1."""
    return [2 / (2 * k + 1) for k in range(terms, 0, -1)]


def _word(kind: Any) -> tuple[Any, int, int]:
    """Return the integers of a floating-point type's width, its bits of mantissa, and its exponent's bias."""
    return (ir.IntType(32), 23, 127) if kind == types.float32 else (ir.IntType(64), 52, 1023)


@intrinsic
def _power_of_two(typing_context, n):
    """Return 2 to a whole number that is given as floating point and lies within the range of normal numbers."""

    def emit(context, builder, signature, arguments):
        word, mantissa, bias = _word(n)
        exponent = builder.add(builder.fptosi(arguments[0], word), ir.Constant(word, bias))
        return builder.bitcast(builder.shl(exponent, ir.Constant(word, mantissa)), context.get_value_type(n))

    return n(n), emit


@intrinsic
def _lifted_power(typing_context, n):
    """Return 2ⁿ⁺⁶⁴ for a whole number n that lies in the lowest bits of a floating-point number."""

    def emit(context, builder, signature, arguments):
        word, mantissa, bias = _word(n)
        bits = builder.shl(builder.bitcast(arguments[0], word), ir.Constant(word, mantissa))
        return builder.bitcast(builder.add(bits, ir.Constant(word, (bias + 64) << mantissa)), context.get_value_type(n))

    return n(n), emit


@intrinsic
def _exponent(typing_context, x):
    """Return the n with 2ⁿ·√½ <= x < 2ⁿ·√2, to three digits, for a positive normal x; as floating point."""

    def emit(context, builder, signature, arguments):
        word, mantissa, bias = _word(x)
        carry = ir.Constant(word, round((2 - math.sqrt(2)) * 1024) << (mantissa - 10))  # of mantissas above √2
        bits = builder.add(builder.bitcast(arguments[0], word), carry)
        exponent = builder.sub(builder.lshr(bits, ir.Constant(word, mantissa)), ir.Constant(word, bias))
        return builder.sitofp(exponent, context.get_value_type(x))

    return x(x), emit


@intrinsic
def _scaled_down(typing_context, x, n):
    """Return x·2⁻ⁿ for a whole number n, where x and the result are normal."""

    def emit(context, builder, signature, arguments):
        word, mantissa, _ = _word(x)
        shift = builder.shl(builder.fptosi(arguments[1], word), ir.Constant(word, mantissa))
        bits = builder.sub(builder.bitcast(arguments[0], word), shift)
        return builder.bitcast(bits, context.get_value_type(x))

    return x(x, x), emit


@intrinsic
def _nearest(typing_context, x):
    """Return the nearest whole number."""

    def emit(context, builder, signature, arguments):
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [context.get_value_type(x)]), arguments)

    return x(x), emit


# exp(r) for |r| <= ln 2 / 2 by Taylor's series: (exp(r) - 1 - r) / r²
_exp_series = _polynomial(_factorials(7, 2), _factorials(13, 2))
_exp_lowest, _exp_highest = _constant(-104, -746), _constant(89, 710)
_whole_exp_series = _polynomial(_factorials(7, 0), _factorials(13, 0))
_rounder, _lowered = _constant(1.5 * 2.0**23, 1.5 * 2.0**52), _constant(2.0**-64, 2.0**-64)
_expm1_lowest = _constant(-60, -60)
_log2_e = _constant(1 / math.log(2), 1 / math.log(2))
# ln 2 in two parts, of which the first has so many zeros that its multiples are exact
_LN2_HIGH = float.fromhex("0x1.62e42fep-1")
_ln2_high = _constant(0.693359375, _LN2_HIGH)
_ln2_low = _constant(math.log(2) - 0.693359375, 1.8206359985041462e-09)
# log(1 + f) = 2·artanh(s) with s = f / (2 + f), |s| < 0.18: its series without the first term, in s²
_artanh_series = _polynomial(_odd(4), _odd(11))
_zero, _half, _one, _two = _constant(0, 0), _constant(0.5, 0.5), _constant(1, 1), _constant(2, 2)
_infinity = _constant(math.inf, math.inf)
_least_normal = _constant(2.0**-126, 2.0**-1022)
# numbers below the least normal one are multiplied by a power of two first
_lift, _lift_exponent = _constant(2.0**24, 2.0**54), _constant(24, 54)


@njit(forceinline=True)
def _exp(x):
    """Return 2ⁿ·exp(r) with |r| <= ln 2 / 2; the power of two in two factors, because one would overflow."""
    limited = _select(x > _exp_lowest(x), x, _exp_lowest(x))
    limited = _select(limited < _exp_highest(x), limited, _exp_highest(x))
    n = _nearest(limited * _log2_e(x))
    r = (limited - n * _ln2_high(x)) - n * _ln2_low(x)
    m = _nearest(n * _half(x))
    result = (_exp_series(r) * r * r + r + _one(x)) * _power_of_two(m) * _power_of_two(n - m)
    return _select(x == x, result, x)


@njit(forceinline=True)
def _exp_below(x):
    """Return 2ⁿ·exp(r) with |r| <= ln 2 / 2 and n <= 0, by way of 2ⁿ⁺ˢ, which is normal where 2ⁿ is not.

    Adding 1.5·2²³ (or 2⁵²) rounds to the whole number n, and leaves it in the lowest bits.
    """
    limited = _select(x < _exp_lowest(x), _exp_lowest(x), x)
    rounded = limited * _log2_e(x) + _rounder(x)
    n = rounded - _rounder(x)
    r = (limited - n * _ln2_high(x)) - n * _ln2_low(x)
    return _whole_exp_series(r) * _lifted_power(rounded) * _lowered(x)


@njit(forceinline=True)
def _expm1(x):
    """Return 2ⁿ·(exp(r) - 1) + (2ⁿ - 1) with |r| <= ln 2 / 2; exact to the last place near 0."""
    limited = _select(x > _expm1_lowest(x), x, _expm1_lowest(x))
    limited = _select(limited < _exp_highest(x), limited, _exp_highest(x))
    n = _nearest(limited * _log2_e(x))
    r = (limited - n * _ln2_high(x)) - n * _ln2_low(x)
    m = _nearest(n * _half(x))
    first, second = _power_of_two(m), _power_of_two(n - m)
    # 2ⁿ itself may be infinite where the result is not: divide 1 by it instead
    result = ((_exp_series(r) * r * r + r) * first + (first - _one(x) / second)) * second
    return _select((x == x) & (x != _zero(x)), result, x)


@njit(forceinline=True)
def _log(x):
    """Return log(2ⁿ·(1 + f)) = n·ln 2 + 2·artanh(f / (2 + f)); minus infinity for 0, NaN for negative numbers."""
    small = x < _least_normal(x)
    normal = _select(small, x * _lift(x), x)
    n = _exponent(normal)
    f = _scaled_down(normal, n) - _one(x)
    n -= _select(small, _lift_exponent(x), _zero(x))
    s = f / (_two(x) + f)
    square = s * s
    result = n * _ln2_high(x) + (_two(x) * s + (s * square * _artanh_series(square) + n * _ln2_low(x)))
    result = _select(x > _zero(x), result, _select(x == _zero(x), -_infinity(x), _infinity(x) - _infinity(x)))
    return _select(x < _infinity(x), result, x)


@njit(forceinline=True)
def _log1p(x):
    """Return log(1 + x) and what rounding took from 1 + x, for x >= -1."""
    u = _one(x) + x
    lost = (x - (u - _one(x))) / u
    n = _exponent(u)
    f = _scaled_down(u, n) - _one(x)
    s = f / (_two(x) + f)
    square = s * s
    result = n * _ln2_high(x) + (_two(x) * s + (s * square * _artanh_series(square) + (n * _ln2_low(x) + lost)))
    return _select(x < _infinity(x), _select(u > _zero(x), result, -_infinity(x)), x)


@njit(forceinline=True)
def _tanh(x):
    """Return -t / (2 + t) for t = exp(-2|x|) - 1, with the sign of x."""
    t = _expm1(-_two(x) * abs(x))
    return math.copysign(t / (_two(x) + t), x)


@njit(forceinline=True)
def _sigmoid(x):
    return _one(x) / (_one(x) + _exp(-x))


@intrinsic
def _scaled_up(typing_context, x, shifted):
    """Return x·2ⁿ, for float32 and n + 1.5·2²³, whose last bits are those of n."""

    def emit(context, builder, signature, arguments):
        word = ir.IntType(32)
        bits, shift = (builder.bitcast(value, word) for value in arguments)
        scaled = builder.add(bits, builder.shl(shift, ir.Constant(word, 23)))
        return builder.bitcast(scaled, context.get_value_type(x))

    return x(x, x), emit


# 2 to the power of -0.5 to 0.5, and x·P(x²) / Q(x²) for the hyperbolic tangent up to 9, fitted to the relative error
_EXP2 = (0.00015353357, 0.0013398876, 0.009618438, 0.055503324, 0.24022648, 0.6931472, 1)
_TANH_P = (1.3442355e-08, 2.0679632e-05, 0.0035002003, 0.1338502, 1)
_TANH_Q = (7.8145766e-07, 0.00032929473, 0.02589487, 0.4671834, 1)
_exp2_series, _tanh_above, _tanh_below = (_polynomial(terms, terms) for terms in (_EXP2, _TANH_P, _TANH_Q))
_tanh_limit, _sigmoid_limit = _constant(9, 9), _constant(87, 87)
_to_nearest = _constant(1.5 * 2**23, 1.5 * 2**23)
_near_log2_e = _constant(1.4427, 1.4427)
_log2_e_rest = _constant(LOG2_E - float(np.float32(LOG2_E)), 0)


@njit(forceinline=True)
def _limited(x, limit):
    """Return x within ±limit, or NaN."""
    return _select(x > limit, limit, _select(x < -limit, -limit, x))


@njit(forceinline=True)
def _quick_tanh(x):
    limited = _limited(x, _tanh_limit(x))
    square = limited * limited
    return _limited(limited * _tanh_above(square) / _tanh_below(square), _one(x))


@njit(forceinline=True)
def _quick_sigmoid(x):
    """Return 1 / (1 + 2ⁿ·2ʳ) with -x·log₂ e = n + r and |r| <= 0.5."""
    limited = _limited(x, _sigmoid_limit(x))
    shifted = _to_nearest(x) - limited * _near_log2_e(x)  # of the same product twice neither would be fused
    rest = ((_to_nearest(x) - shifted) - limited * _log2_e(x)) - limited * _log2_e_rest(x)
    whole = _select(x < -_sigmoid_limit(x), _zero(x), _one(x))
    return whole / (_one(x) + _scaled_up(_exp2_series(rest), shifted))


# exp(t²/2)·(share of the normal distribution beyond t)·√(2π) as a polynomial in k = 1 / (1 + 0.35 t) without a constant
# term: least squares of the relative error at 400 Chebyshev points of 0 <= t <= 14.5; it stays below 4e-8
_TAIL = (-0.07401987, 0.3654249, -0.65003884, 0.40892005, -0.06444191, 0.26707602, 0.2997581, 0.3506609, 0.34997478, 0)
_tail_series = _polynomial(_TAIL, _TAIL)
_tail_pitch = _constant(0.35, 0.35)
_density_at_0 = _constant(INVERSE_SQRT_2PI, INVERSE_SQRT_2PI)


@njit(forceinline=True)
def _normal_density(x):
    return _density_at_0(x) * _exp(-_half(x) * x * x)


@njit(forceinline=True)
def _normal_cdf_single(x):
    """Return the tail beyond |x|, or 1 less it; the density in it serves callers that want both."""
    tail = _normal_density(x) * _tail_series(_one(x) / (_one(x) + _tail_pitch(x) * abs(x)))
    return _select(x < _zero(x), tail, _one(x) - tail)


@njit(forceinline=True)
def _normal_cdf_double(x):
    return 0.5 * math.erfc(-x * SQRT_HALF)


def _on_cpu(function: Callable[..., Any], single: Any, double: Any = None) -> None:
    """Let code compiled for the CPU call this in the place of a function of numbers."""
    double = single if double is None else double

    def choose(x):  # Numba compares these arguments with those of what is chosen, annotations included
        if isinstance(x, types.Float):
            return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))
        return None

    overload(function, jit_options={"forceinline": True}, target="cpu")(choose)


@njit(forceinline=True)
def _sqrt(x):
    return np.sqrt(x)


_on_cpu(sqrt, _sqrt)
_on_cpu(exp, _exp)
_on_cpu(exp_below, _exp_below)
_on_cpu(expm1, _expm1)
_on_cpu(log, _log)
_on_cpu(log1p, _log1p)
_on_cpu(tanh, _tanh)
_on_cpu(sigmoid, _sigmoid)
_on_cpu(quick_tanh, _quick_tanh, _tanh)
_on_cpu(quick_sigmoid, _quick_sigmoid, _sigmoid)
_on_cpu(normal_density, _normal_density)
_on_cpu(normal_cdf, _normal_cdf_single, _normal_cdf_double)
overload(maximum, target="cpu")(lambda x, y: lambda x, y: _select(x >= y, x, _select(x != x, x, y)))
overload(number, target="cpu")(lambda value, like: lambda value, like: _number(value, like))
overload(select, target="cpu")(
    lambda condition, chosen, other: lambda condition, chosen, other: _select(condition, chosen, other)
)
