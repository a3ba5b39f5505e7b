"""Elementary functions of the engine's own: the C library's differ in their last bits between machines.

All are polynomials, without branches but for the quantile, so that loops over them vectorise, and are compiled without
any floating-point freedom: the same bits in a vectorised loop, its remainder, and alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from mpi_engine.compiled import Real, part

_f = np.float32


def _bitcast(result: Any, ir_type: ir.Type) -> Any:
    @intrinsic
    def cast(_context: Any, value: Any) -> Any:
        return result(value), lambda _, builder, __, args: builder.bitcast(args[0], ir_type)

    return cast


_float32_of_bits = _bitcast(types.float32, ir.FloatType())
_bits_of_float32 = _bitcast(types.int32, ir.IntType(32))
float64_of_bits = _bitcast(types.float64, ir.DoubleType())
bits_of_float64 = _bitcast(types.int64, ir.IntType(64))


@intrinsic
def _fma(_context: Any, x: Any, y: Any, z: Any) -> Any:
    """Product and sum, rounded once: half the time of two, and the same bits with and without an instruction for it."""
    return x(x, y, z), lambda _, builder, __, args: builder.fma(*args)


@part
def _exp32(x: Real) -> Real:
    x = min(max(x, _f(-87.0)), _f(88.0))
    # x = n ln 2 + r; adding 1.5 * 2^23 rounds to the integer n and leaves it in the low bits
    shifted = _fma(x, _f(1.44269504), _f(12582912.0))
    n = shifted - _f(12582912.0)
    r = _fma(n, _f(2.12194440e-4), _fma(n, _f(-0.693359375), x))
    y = _f(1.9875691500e-4)
    y = _fma(y, r, _f(1.3981999507e-3))
    y = _fma(y, r, _f(8.3334519073e-3))
    y = _fma(y, r, _f(4.1665795894e-2))
    y = _fma(y, r, _f(1.6666665459e-1))
    y = _fma(y, r, _f(5.0000001201e-1))
    y = _fma(y * r, r, r) + _f(1.0)
    return y * _float32_of_bits(np.int32((_bits_of_float32(shifted) + 127) << 23))


@part
def _exp64(x: float) -> float:
    x = min(max(x, -708.0), 709.0)
    shifted = x * 1.4426950408889634073599 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6
    rr = r * r
    p = r * ((1.26177193074810590878e-4 * rr + 3.02994407707441961300e-2) * rr + 9.99999999999999999910e-1)
    q = ((3.00198505138664455042e-6 * rr + 2.52448340349684104192e-3) * rr + 2.27265548208155028766e-1) * rr + 2.0
    y = 1.0 + 2.0 * (p / (q - p))
    return y * float64_of_bits((bits_of_float64(shifted) + np.int64(1023)) << np.int64(52))


def exp(x: Any) -> Any:
    """Exponential function, in the format of its argument; relative error below 2 units in the last place.

    The polynomials are those of the Cephes library. Arguments beyond the range of the format are clipped. Called from
    Python, where no bits depend on it, it is NumPy's.
    """
    return np.exp(x)


@overload(exp)
def _exp(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _exp32(x)  # noqa: PLW0108
    return lambda x: _exp64(x)  # noqa: PLW0108  (numba wants a function of its own)


@part
def tanh(x: float) -> float:
    """Hyperbolic tangent of a float64; absolute error below 4e-16."""
    return 1.0 - 2.0 / (_exp64(2.0 * x) + 1.0)


@part
def log(x: float) -> float:
    """Natural logarithm of a positive normal float64; error below 1 unit in the last place.

    x = 2^k (1 + f) with sqrt(1/2) < 1 + f < sqrt(2); log(1 + f) by its series in s = f / (2 + f), with the minimax
    coefficients of FDLIBM.
    """
    bits = bits_of_float64(x)
    # the exponent steps at sqrt(1/2), so that f is small on both sides of 1
    shifted = bits + np.int64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    k = (shifted >> np.int64(52)) - np.int64(1023)
    mantissa = (shifted & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD)
    f = float64_of_bits(mantissa) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (0.3999999999940941908 + w * (0.2222219843214978396 + w * 0.1531383769920937332))
    odd = z * (
        0.6666666666666735130 + w * (0.2857142874366239149 + w * (0.1818357216161805012 + w * 0.1479819860511658591))
    )
    half = 0.5 * f * f
    kk = float(k)
    return kk * 0.693147180369123816490 - ((half - (s * (half + even + odd) + kk * 1.90821492927058770002e-10)) - f)


@part
def normal_quantile(p: float) -> float:
    """Invert the standard normal distribution for a probability p, 0 < p < 1; relative error about 1e-16.

    Algorithm AS 241, PPND16 (Wichura 1988).
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        numerator = (
            (((((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r
               + 4.5921953931549871457e4) * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3) * r
            + 1.3314166789178437745e2
        ) * r + 3.3871328727963666080e0
        denominator = (
            (((((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r
               + 2.1213794301586595867e4) * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2) * r
            + 4.2313330701600911252e1
        ) * r + 1.0
        return q * numerator / denominator
    r = np.sqrt(-log(p if q < 0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        numerator = (
            (((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r
               + 1.27045825245236838258e0) * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0) * r
            + 4.63033784615654529590e0
        ) * r + 1.42343711074968357734e0
        denominator = (
            (((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r
               + 1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0) * r
            + 2.05319162663775882187e0
        ) * r + 1.0
    else:
        r -= 5.0
        numerator = (
            (((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r
               + 2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0) * r
            + 5.46378491116411436990e0
        ) * r + 6.65790464350110377720e0
        denominator = (
            (((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r
               + 7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1) * r
            + 5.99832206555887937690e-1
        ) * r + 1.0
    return -numerator / denominator if q < 0 else numerator / denominator
