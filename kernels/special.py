"""Special functions of one or two numbers that CPU and CUDA kernels share, as `scalar` holds the plain ones.

Errors stay within a few units in the last place of float64. Whatever Python's `math` refuses (poles, overflow) is taken
care of before it is called, so that every function also runs uncompiled.
"""

import math

from nbtorch.kernels.jit import njit

TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
LARGEST_EXPONENT = 709.0

BERNOULLI_OVER_FACTORIAL = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)
"""B(2k) / (2k)! for k from 1: the weights of the Euler-Maclaurin formula (Abramowitz and Stegun, 23.1.30)."""

BERNOULLI_OVER_INDEX = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
"""B(2k) / (2k) for k from 1: the weights of the asymptotic digamma series (Abramowitz and Stegun, 6.3.18)."""


@njit
def erf(x):
    """Return the error function 2/√π · ∫ exp(-t²) dt from 0 to x."""
    return math.erf(x)


@njit
def erfc(x):
    """Return 1 - erf(x), accurate for large x."""
    return math.erfc(x)


@njit
def erfcx(x):
    """Return exp(x²) · erfc(x), which neither overflows nor underflows for x > 0."""
    x = float(x)
    if x < -26.7:
        return math.inf
    if x < 10:
        near = math.floor(x * 16) / 16  # its square is exact, and with it most of the exponent
        return math.exp(near * near) * math.exp((x - near) * (x + near)) * math.erfc(x)
    if x > 1e8 or x != x:
        return TWO_OVER_SQRT_PI / 2 / x
    # Asymptotic series: 1 / (x √π) · Σ (-1)ⁿ (2n - 1)!! / (2x²)ⁿ (Abramowitz and Stegun, 7.1.23)
    factor = 1 / (2 * x * x)
    term, total = 1.0, 1.0
    for n in range(1, 16):
        term *= -(2 * n - 1) * factor
        total += term
    return TWO_OVER_SQRT_PI / 2 / x * total


@njit
def _erfinv_start(w):
    """Return erfinv(y) / y to about seven digits, for w = -log(1 - y²).

    M. Giles, "Approximating the erfinv function", GPU Computing Gems, 2012, single precision.
    """
    if w < 5:
        w -= 2.5
        p = 2.81022636e-08
        p = p * w + 3.43273939e-07
        p = p * w - 3.5233877e-06
        p = p * w - 4.39150654e-06
        p = p * w + 0.00021858087
        p = p * w - 0.00125372503
        p = p * w - 0.00417768164
        p = p * w + 0.246640727
        return p * w + 1.50140941
    if w > 16:
        return math.sqrt(w - math.log(math.sqrt(math.pi * w)))  # leading terms of the tail, good to 1 %
    w = math.sqrt(w) - 3
    p = -0.000200214257
    p = p * w + 0.000100950558
    p = p * w + 0.00134934322
    p = p * w - 0.00367342844
    p = p * w + 0.00573950773
    p = p * w - 0.0076224613
    p = p * w + 0.00943887047
    p = p * w + 1.00167406
    return p * w + 2.83297682


@njit
def _erfc_inverse(z):
    """Return the x >= 0 with erfc(x) = z, for 0 < z <= 1: Giles' start and steps of Halley's method."""
    x = _erfinv_start(-math.log(z * (2 - z))) * (1 - z)
    for _ in range(3):
        # scaled by exp(x²), so that the far tail does not underflow
        error = (erfcx(x) - math.exp(math.log(z) + x * x)) / TWO_OVER_SQRT_PI
        x += error / (1 - x * error)
    return x


@njit
def erfinv(y):
    """Return the x with erf(x) = y; infinite at ±1, NaN beyond."""
    y = float(y)
    size = abs(y)
    if not size < 1:
        return math.copysign(math.inf, y) if size == 1 else math.nan
    if size > 0.5:
        return math.copysign(_erfc_inverse(1 - size), y)
    x = _erfinv_start(-math.log1p(-y * y)) * y
    for _ in range(2):
        error = (math.erf(x) - y) / (TWO_OVER_SQRT_PI * math.exp(-x * x))
        x -= error / (1 + x * error)
    return x


@njit
def ndtri(p):
    """Return the x below which a share p of the normal distribution lies."""
    p = float(p)
    if not 0 < p < 1:
        return -math.inf if p == 0 else math.inf if p == 1 else math.nan
    if p < 0.25:
        return -math.sqrt(2.0) * _erfc_inverse(2 * p)
    if p > 0.75:
        return math.sqrt(2.0) * _erfc_inverse(2 * (1 - p))
    return math.sqrt(2.0) * erfinv(2 * p - 1)


@njit
def ndtr(x):
    """Return the share of the normal distribution that lies below x."""
    return 0.5 * math.erfc(-float(x) / math.sqrt(2.0))


@njit
def log_ndtr(x):
    """Return the logarithm of `ndtr(x)`, without underflow for negative x."""
    x = float(x)
    if x < -1:
        return math.log(erfcx(-x / math.sqrt(2.0)) / 2) - x * x / 2 if x > -1e150 else -math.inf
    return math.log1p(-math.erfc(x / math.sqrt(2.0)) / 2)


@njit
def lgamma(x):
    """Return the logarithm of |Γ(x)|; infinite at the poles 0, -1, -2, …"""
    if x <= 0 and x == math.floor(x):
        return math.inf
    return math.lgamma(x)


@njit
def digamma(x):
    """Return the derivative of log Γ(x); NaN at negative integers, infinite at 0."""
    x = float(x)
    if x == 0:
        return math.copysign(math.inf, -x)
    if x == -math.inf or (x < 0 and x == math.floor(x)):
        return math.nan
    if x == math.inf:
        return x
    result = 0.0
    if x < 0:  # ψ(x) = ψ(1 - x) - π / tan(πx)
        fraction = x - math.floor(x)
        result = -math.pi / math.tan(math.pi * (fraction - 1 if fraction > 0.5 else fraction))
        x = 1 - x
    while x < 10:  # ψ(x) = ψ(x + 1) - 1/x
        result -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    power = inverse
    series = 0.0
    for weight in BERNOULLI_OVER_INDEX:
        series += weight * power
        power *= inverse
    return result + math.log(x) - 0.5 / x - series


@njit
def _power(base, exponent):
    """Return base ** -exponent for a base that is not 0; a negative base has an integer exponent."""
    size = abs(base) ** -exponent if -exponent * math.log(abs(base)) < LARGEST_EXPONENT else math.inf
    return -size if base < 0 and exponent % 2 == 1 else size


@njit
def zeta(x, q):
    """Return the Hurwitz zeta function Σ (q + k)⁻ˣ over k >= 0, for x > 1, by the Euler-Maclaurin formula.

    Terms are summed until q + k exceeds 10; what remains is an integral with corrections by Bernoulli numbers
    (Johansson, "Rigorous high-precision computation of the Hurwitz zeta function", 2015).
    """
    x, q = float(x), float(q)
    if x == 1:
        return math.inf
    if not x > 1 or q != q:
        return math.nan
    if q == -math.inf:
        return math.inf
    if q == math.inf:
        return 0.0
    if q <= 0:
        if q == math.floor(q):
            return math.inf
        if x != math.floor(x):
            return math.nan
    if q > 1e8:
        return _power(q, x) * (q / (x - 1) + 0.5)
    total, base = 0.0, q
    while base < 10:
        total += _power(base, x)
        base += 1
    tail = _power(base, x)
    total += tail * (base / (x - 1) + 0.5)
    factor = x * tail / base
    for k in range(8):
        term = BERNOULLI_OVER_FACTORIAL[k] * factor
        total += term
        factor *= (x + 2 * k + 1) * (x + 2 * k + 2) / (base * base)
    return total


@njit
def _bessel_i(order, x, scaled):
    """Return the modified Bessel function of the first kind I₀ or I₁ (times exp(-|x|) if `scaled`) of x.

    Up to 30 the power series, whose terms all have one sign; beyond it the asymptotic series (Abramowitz and Stegun,
    9.6.10 and 9.7.1).
    """
    size = abs(float(x))
    if not size <= 30:
        if size == math.inf:
            result = 0.0 if scaled else size
        elif size != size:
            return size
        else:
            term, total = 1.0, 1.0
            for k in range(1, 30):
                term *= -(4.0 * order * order - (2 * k - 1) ** 2) / (8 * size * k)
                total += term
            result = total / math.sqrt(2 * math.pi * size)
            if not scaled:
                half = math.exp(min(size, 2 * LARGEST_EXPONENT) / 2)
                result = result * half * half
    else:
        term = 1.0 if order == 0 else size / 2
        total = term
        quarter = size * size / 4
        for k in range(1, 90):
            term *= quarter / (k * (k + order))
            total += term
            if term < 1e-17 * total:
                break
        result = total * math.exp(-size) if scaled else total
    return -result if order == 1 and x < 0 else result


@njit
def i0(x):
    """Return the modified Bessel function I₀(x)."""
    return _bessel_i(0, x, False)


@njit
def i0e(x):
    """Return exp(-|x|) · I₀(x)."""
    return _bessel_i(0, x, True)


@njit
def i1(x):
    """Return the modified Bessel function I₁(x)."""
    return _bessel_i(1, x, False)


@njit
def i1e(x):
    """Return exp(-|x|) · I₁(x)."""
    return _bessel_i(1, x, True)


EULER_GAMMA = 0.5772156649015329
ROOT_HALF = math.sqrt(0.5)
AIRY_AT_ZERO = 3 ** (-2 / 3) / math.gamma(2 / 3)
AIRY_SLOPE_AT_ZERO = -(3 ** (-1 / 3)) / math.gamma(1 / 3)


@njit
def _hankel(order, x):
    """Return P and Q of Hankel's asymptotic expansion (Abramowitz and Stegun, 9.2.9 and 9.2.10)."""
    p, q, term = 1.0, 0.0, 1.0
    for k in range(1, 40):
        term *= (4.0 * order * order - (2 * k - 1) ** 2) / (8 * x * k)
        if k % 2:
            q += term if k % 4 == 1 else -term
        else:
            p += term if k % 4 == 0 else -term
        if abs(term) < 1e-17:
            break
    return p, q


@njit
def _bessel_jy(order, second, x):
    """Return the Bessel function of the first or second kind and order 0 or 1 of x > 0; NaN at infinity.

    Beyond 25 Hankel's expansion; up to it Miller's backward recurrence, and Neumann's series of J for Y (Abramowitz and
    Stegun, 9.12 and 9.1.88).
    """
    if x == math.inf:
        return math.nan
    if x >= 25:
        p, q = _hankel(order, x)
        sine, cosine = math.sin(x), math.cos(x)
        plus, minus = (sine + cosine) * ROOT_HALF, (sine - cosine) * ROOT_HALF
        along, across = (plus, minus) if order == 0 else (minus, -plus)
        value = p * across + q * along if second else p * along - q * across
        return value * math.sqrt(2 / (math.pi * x))
    if x < 1e-8:
        if not second:
            return 1.0 if order == 0 else x / 2
        return (math.log(x / 2) + EULER_GAMMA) * 2 / math.pi if order == 0 else -2 / (math.pi * x)
    above, here = 0.0, 1e-280
    norm = neumann = slope = 0.0
    j1 = 0.0
    for n in range(2 * (int(x) + 10), 0, -1):  # here is J of order n; at the end of a pass of order n - 1
        below = 2 * n / x * here - above
        if n % 2 == 0:
            k = n // 2
            sign = 1.0 if k % 2 == 0 else -1.0
            norm += 2 * here
            neumann += sign * here / k
            slope += sign * (below - above) / k
        if n == 1:
            j1 = here
        above, here = here, below
    norm += here
    j0, j1 = here / norm, j1 / norm
    if not second:
        return j0 if order == 0 else j1
    log_half = math.log(x / 2) + EULER_GAMMA
    if order == 0:
        return 2 / math.pi * (log_half * j0 - 2 * neumann / norm)
    return 2 / math.pi * (log_half * j1 - j0 / x + slope / norm)


@njit
def bessel_j0(x):
    """Return the Bessel function J₀(x)."""
    x = abs(float(x))
    return x if x != x else _bessel_jy(0, False, x) if x > 0 else 1.0


@njit
def bessel_j1(x):
    """Return the Bessel function J₁(x)."""
    x = float(x)
    if x == 0 or x != x:
        return x
    value = _bessel_jy(1, False, abs(x))
    return -value if x < 0 else value


@njit
def bessel_y0(x):
    """Return the Bessel function Y₀(x); NaN below 0."""
    x = float(x)
    return _bessel_jy(0, True, x) if x > 0 else -math.inf if x == 0 else math.nan


@njit
def bessel_y1(x):
    """Return the Bessel function Y₁(x); NaN below 0."""
    x = float(x)
    return _bessel_jy(1, True, x) if x > 0 else -math.inf if x == 0 else math.nan


@njit
def _bessel_k(order, x, scaled):
    """Return the modified Bessel function of the second kind of x > 0, times exp(x) if `scaled`.

    Up to 30 the integral of exp(-x cosh t) cosh(order t) by the trapezoidal rule, which converges exponentially for it;
    beyond it the asymptotic series (Abramowitz and Stegun, 9.6.24 and 9.7.2).
    """
    if x == math.inf:
        return 0.0
    if x > 30:
        term = total = 1.0
        for k in range(1, 40):
            term *= (4.0 * order * order - (2 * k - 1) ** 2) / (8 * x * k)
            total += term
            if abs(term) < 1e-17:
                break
        total *= math.sqrt(math.pi / (2 * x))
    else:
        total, step = 0.5, 0.1
        for i in range(1, 8000):
            t = i * step
            exponent = order * t - x * (math.cosh(t) - 1)  # cosh(order t) without its overflow
            term = math.exp(exponent) * (1 + math.exp(-2 * order * t)) / 2 if exponent > -LARGEST_EXPONENT else 0.0
            total += term
            if term < 1e-17 * total:
                break
        total *= step
    return total if scaled else total * math.exp(-x)


@njit
def modified_bessel_k0(x):
    """Return the modified Bessel function K₀(x); NaN below 0."""
    x = float(x)
    return _bessel_k(0.0, x, False) if x > 0 else math.inf if x == 0 else math.nan


@njit
def modified_bessel_k1(x):
    """Return the modified Bessel function K₁(x); NaN below 0."""
    x = float(x)
    return _bessel_k(1.0, x, False) if x > 0 else math.inf if x == 0 else math.nan


@njit
def scaled_modified_bessel_k0(x):
    """Return exp(x) · K₀(x); NaN below 0."""
    x = float(x)
    return _bessel_k(0.0, x, True) if x > 0 else math.inf if x == 0 else math.nan


@njit
def scaled_modified_bessel_k1(x):
    """Return exp(x) · K₁(x); NaN below 0."""
    x = float(x)
    return _bessel_k(1.0, x, True) if x > 0 else math.inf if x == 0 else math.nan


@njit
def airy_ai(x):
    """Return the Airy function Ai(x), the solution of y'' = x y that decays for growing x; NaN at infinities.

    Above 1 through K of order 1/3; below -10 by its asymptotic expansion (Abramowitz and Stegun, 10.4.14 and 10.4.60);
    between them by Taylor series of the differential equation, from point to point half a unit apart, which is stable
    where the solutions oscillate.
    """
    x = float(x)
    if not abs(x) < math.inf:
        return math.nan
    size = 2 / 3 * abs(x) * math.sqrt(abs(x))
    if x > 1:
        return math.sqrt(x / 3) / math.pi * _bessel_k(1 / 3, size, False)
    if x < -10:
        even, odd, term = 1.0, 0.0, 1.0
        for k in range(1, 20):
            term *= (6 * k - 5) * (6 * k - 3) * (6 * k - 1) / (216.0 * k * (2 * k - 1) * size)
            if k % 2:
                odd += term if k % 4 == 1 else -term
            else:
                even += term if k % 4 == 0 else -term
            if abs(term) < 1e-17:
                break
        angle = size + math.pi / 4
        return (math.sin(angle) * even - math.cos(angle) * odd) / math.sqrt(math.pi * math.sqrt(-x))
    y, slope, at = AIRY_AT_ZERO, AIRY_SLOPE_AT_ZERO, 0.0
    while at != x:
        step = min(max(x - at, -0.5), 0.5)
        two_back, one_back, now = 0.0, y, slope  # coefficients: (n + 2)(n + 1) c[n+2] = at c[n] + c[n-1]
        power, next_y, next_slope = step, y + slope * step, slope
        for n in range(40):
            c = (at * one_back + two_back) / ((n + 2) * (n + 1))
            next_slope += (n + 2) * c * power
            power *= step
            next_y += c * power
            two_back, one_back, now = one_back, now, c
        y, slope = next_y, next_slope
        at = x if abs(x - at) <= 0.5 else at + step
    return y


@njit
def _gamma_series(a, x):
    """Return P(a, x) by its power series (Abramowitz and Stegun, 6.5.29); for x < a + 1."""
    term = total = 1 / a
    for k in range(1, 100000):
        term *= x / (a + k)
        total += term
        if term < 1e-17 * total:
            break
    return total * math.exp(a * math.log(x) - x - lgamma(a))


@njit
def _gamma_fraction(a, x):
    """Return 1 - P(a, x) by its continued fraction (Abramowitz and Stegun, 6.5.31), Lentz's method; for x >= a + 1."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for k in range(1, 100000):
        numerator = -k * (k - a)
        b += 2
        d = numerator * d + b
        c = b + numerator / c
        d = 1 / (tiny if d == 0 else d)
        c = tiny if c == 0 else c
        change = d * c
        h *= change
        if abs(change - 1) < 1e-16:
            break
    return h * math.exp(a * math.log(x) - x - lgamma(a))


@njit
def _gamma_limit(a, x):
    """Return P(a, x) at 0 and infinity, NaN where it does not exist, and -1 at all other points."""
    if not (a >= 0 and x >= 0):
        return math.nan
    if a == 0:
        return 1.0 if x > 0 else math.nan
    if x == 0:
        return 0.0
    if a == math.inf:
        return math.nan if x == math.inf else 0.0
    return 1.0 if x == math.inf else -1.0


@njit
def igamma(a, x):
    """Return the lower incomplete gamma function P(a, x), regularized: from 0 at x = 0 to 1."""
    a, x = float(a), float(x)
    limit = _gamma_limit(a, x)
    if limit != -1.0:
        return limit
    return _gamma_series(a, x) if x < a + 1 else 1 - _gamma_fraction(a, x)


@njit
def igammac(a, x):
    """Return the upper incomplete gamma function 1 - P(a, x), regularized."""
    a, x = float(a), float(x)
    limit = _gamma_limit(a, x)
    if limit != -1.0:
        return 1 - limit
    return 1 - _gamma_series(a, x) if x < a + 1 else _gamma_fraction(a, x)
