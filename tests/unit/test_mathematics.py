"""Elementary functions: their stated errors, and the same bits in a vectorised loop, its remainder, and alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtri

from mpi_engine.compiled import kernel
from mpi_engine.network.mathematics import exp, log, normal_quantile, tanh

Values = NDArray[np.floating[Any]]


@kernel
def exp_of(x: Values, y: Values) -> None:
    for i in range(x.size):
        y[i] = exp(x[i])


@kernel
def log_of(x: Values, y: Values) -> None:
    for i in range(x.size):
        y[i] = log(x[i])


@kernel
def tanh_of(x: Values, y: Values) -> None:
    for i in range(x.size):
        y[i] = tanh(x[i])


@kernel
def quantile_of(x: Values, y: Values) -> None:
    for i in range(x.size):
        y[i] = normal_quantile(x[i])


def call(function: Callable[[Values, Values], None], x: Values) -> Values:
    y = np.empty_like(x)
    function(x, y)
    return y


def ulps(y: Values, exact: Values) -> float:
    """Largest error in units in the last place of the format of y."""
    return float(np.max(np.abs(y - exact) / np.spacing(np.abs(exact.astype(y.dtype)))))


def uniform(low: float, high: float, n: int = 1_000_003) -> Values:
    return np.random.default_rng(1).uniform(low, high, n)


@pytest.mark.parametrize(("dtype", "wider", "largest"), [
    (np.float32, np.float64, 86.0), (np.float64, np.longdouble, 707.0),
])
def test_the_exponential_is_right_to_two_units_in_the_last_place(dtype: Any, wider: Any, largest: float) -> None:
    for x in (uniform(-largest, largest).astype(dtype), uniform(-0.1, 0.1).astype(dtype)):
        assert ulps(call(exp_of, x), np.exp(x.astype(wider))) < 2.0
    np.testing.assert_array_equal(call(exp_of, np.array([0.0, -0.0, -1e-30], dtype)), 1.0)
    beyond = call(exp_of, np.array([-np.inf, np.inf], dtype))
    assert np.isfinite(beyond).all()


def test_the_logarithm_is_right_to_a_unit_in_the_last_place() -> None:
    for x in (np.exp(uniform(-700.0, 700.0)), uniform(0.5, 2.0)):
        assert ulps(call(log_of, x), np.log(x.astype(np.longdouble))) < 1.0


def test_the_hyperbolic_tangent_is_right_to_4e16() -> None:
    x = uniform(-20.0, 20.0)
    assert np.abs(call(tanh_of, x) - np.tanh(x.astype(np.longdouble))).max() < 4e-16


def test_the_normal_quantile_is_that_of_scipy() -> None:
    p = np.concatenate([uniform(0.0, 1.0), np.exp(uniform(-700.0, 0.0))])
    np.testing.assert_allclose(call(quantile_of, p), ndtri(p), rtol=2e-14, atol=1e-15)


@pytest.mark.parametrize(("function", "dtype"), [
    (exp_of, np.float32), (exp_of, np.float64), (log_of, np.float64), (tanh_of, np.float64), (quantile_of, np.float64),
])
def test_the_bits_do_not_depend_on_the_loop(function: Any, dtype: Any) -> None:
    x = uniform(0.01, 0.99, 203).astype(dtype)
    alone = np.concatenate([call(function, x[i : i + 1]) for i in range(x.size)])
    np.testing.assert_array_equal(call(function, x), alone)
