"""Intervals cover what they should, and exponents are those of the power laws that values are made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from analysis.confidence import Interval, block_error, bootstrap, common_mode_error, crossed_interval, t_interval
from analysis.scaling import convexity, exponent, extrapolation, limit, local_exponents
from analysis.style import save
from analysis.trends import draw, trends

RNG = np.random.default_rng(3)
SIZES = [1000, 2000, 4000, 8000]


def coverage(interval: partial[Interval], truth: float, repetitions: int = 400) -> float:
    """Share of repetitions whose interval holds the truth."""
    return float(np.mean([not interval().excludes(truth) for _ in range(repetitions)]))


def scattered(law: np.ndarray, seeds: int = 5, scatter: float = 0.1) -> np.ndarray:
    return law[:, None] * np.exp(scatter * RNG.standard_normal((len(law), seeds)))


def test_t_interval_is_students() -> None:
    found = t_interval([1.0, 2.0, 4.0])
    expected = stats.t.interval(0.95, 2, 7 / 3, stats.sem([1.0, 2.0, 4.0]))
    assert (found.low, found.high) == pytest.approx(expected)
    assert str(found) == "2.33 [-1.46, 6.13]"


def test_t_interval_of_one_seed_has_no_limits_and_excludes_nothing() -> None:
    alone = t_interval([3.0])
    assert alone.value == 3.0
    assert np.isnan([alone.low, alone.high, alone.error]).all()
    assert not alone.excludes(99.0)


def test_runs_that_share_their_seeds_are_fewer_than_they_look() -> None:
    """Networks by inputs, each with an effect: intervals cover the mean, and those of independent runs do not."""
    shape, draws = (5, 4), 1000
    networks, inputs = RNG.standard_normal((draws, 5, 1)), RNG.standard_normal((draws, 1, 4))
    values = networks + inputs + 0.5 * RNG.standard_normal((draws, *shape))
    crossed = np.mean([not crossed_interval(runs).excludes(0.0) for runs in values])
    independent = np.mean([not t_interval(runs).excludes(0.0) for runs in values])
    assert crossed > 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)
    assert independent < 0.8


def test_seeds_of_one_kind_and_missing_runs() -> None:
    values = RNG.standard_normal(6)
    assert crossed_interval(values) == crossed_interval(values[:, None]) == crossed_interval([*values, np.nan])
    assert crossed_interval(values) == t_interval(values)
    assert np.isnan(crossed_interval([[1.0]]).error)
    assert np.isnan(crossed_interval([np.nan]).value)
    exact = crossed_interval(np.ones((2, 3)))
    assert (exact.low, exact.high, exact.error) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf, 1.0]])
def test_a_mean_of_nothing_or_of_nan_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="must be finite, and at least one; leave out what failed"):
        t_interval(values)


def autoregressive(n: int, memory: float = 0.9) -> np.ndarray:
    """An Ornstein-Uhlenbeck process at unit intervals: the error of its mean is sqrt((1 + m) / (1 - m) / n)."""
    noise = RNG.standard_normal(n) * np.sqrt(1 - memory**2)
    noise[0] = RNG.standard_normal()
    for k in range(1, n):
        noise[k] += memory * noise[k - 1]
    return noise


def test_block_bootstrap_knows_the_error_of_a_correlated_mean() -> None:
    series = autoregressive(20_000)
    expected = np.sqrt(19 / 20_000)
    found = bootstrap(np.mean, series, blocks=40, resamples=500)
    assert found.error == pytest.approx(expected, rel=0.45)     # 4 standard errors of an error from 40 blocks
    assert block_error(series, 40) == pytest.approx(found.error / np.sqrt(1 - 1 / 40), rel=4 / np.sqrt(1000))
    assert bootstrap(np.mean, series, resamples=200).error < 0.5 * expected


def test_bootstrap_of_a_ratio_covers_it() -> None:
    def draw() -> Interval:
        pairs = RNG.normal([2.0, 4.0], 0.5, (60, 2))
        return bootstrap(lambda drawn: float(drawn[:, 0].mean() / drawn[:, 1].mean()), pairs, resamples=200)

    assert coverage(partial(draw), 0.5, 150) == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / 150) + 0.02)


def test_bootstrap_refuses_blocks_that_are_not_there() -> None:
    for blocks in (1, 11):
        with pytest.raises(ValueError, match=rf"blocks = {blocks}: must be from 2 to the number of observations, 10"):
            bootstrap(np.mean, np.arange(10.0), blocks)


def test_block_error_of_white_noise_and_with_a_known_cause() -> None:
    noise = RNG.standard_normal(4000)
    assert block_error(noise, 40) == pytest.approx(1 / np.sqrt(4000), rel=0.5)
    cause = RNG.standard_normal(40)
    driven = noise + 10 * np.repeat(cause, 100)
    assert block_error(driven, 40) > 0.5
    assert block_error(driven, 40, [cause]) == pytest.approx(1 / np.sqrt(4000), rel=0.5)
    assert np.isnan(block_error(noise[:3], 10))


def test_common_mode_error_is_the_spread_of_a_variance() -> None:
    variances = RNG.standard_normal((4000, 21)).var(axis=1, ddof=1)
    assert common_mode_error(21) == pytest.approx(variances.std(), rel=0.1)


def test_exponent_of_an_exact_power_law() -> None:
    values = np.outer(3 * np.array(SIZES) ** -0.4, np.ones(4))
    found = exponent(SIZES, values)
    assert (found.value, found.low, found.high) == pytest.approx((-0.4, -0.4, -0.4))
    assert convexity(SIZES, values).value == pytest.approx(0.0, abs=1e-9)
    assert [local.value for local in local_exponents(SIZES, values)] == pytest.approx([-0.4] * 3)
    assert extrapolation(SIZES, values, 1e6).value == pytest.approx(3 * 1e6**-0.4)


def test_intervals_of_exponents_cover_the_true_one() -> None:
    law = np.array(SIZES) ** 0.5
    assert coverage(partial(lambda: exponent(SIZES, scattered(law))), 0.5) == pytest.approx(0.95, abs=0.044)
    assert coverage(partial(lambda: convexity(SIZES, scattered(law))), 0.0) == pytest.approx(0.95, abs=0.044)
    beyond = partial(lambda: extrapolation(SIZES, scattered(law), 32_000))
    assert coverage(beyond, 32_000**0.5) == pytest.approx(0.95, abs=0.044)


def test_a_law_that_bends_is_convex_with_growing_exponents() -> None:
    """From constant to linear: the exponent grows from 1/5 at N = 1000 to 2/3 at 8000."""
    values = scattered(1 + np.array(SIZES) / 4000, scatter=0.01)
    assert convexity(SIZES, values).low > 0
    locals_ = [local.value for local in local_exponents(SIZES, values)]
    assert locals_ == sorted(locals_)
    quadratic = np.log(SIZES)
    assert convexity(SIZES, np.exp(0.5 * 0.3 * quadratic**2)[:, None]).value == pytest.approx(0.3)


def test_limit_of_what_approaches_it_as_one_over_root_n() -> None:
    values = -119.66 + 300 / np.sqrt(SIZES)[:, None] + 0.1 * RNG.standard_normal((4, 6))
    found = limit(SIZES, values)
    assert not found.excludes(-119.66)
    assert found.high - found.low < 1.0


@pytest.mark.parametrize(
    ("sizes", "values", "reason"),
    [
        ([1000, 2000], [[1.0], [2.0], [3.0]], r"shape \(3, 1\) do not fit 2 sizes; give \[sizes, seeds\]"),
        ([1000, 2000], [1.0, 2.0], r"shape \(2,\) do not fit 2 sizes"),
        ([1000, 1000], [[1.0], [2.0]], "at least 2 different ones are needed"),
        ([1000, 2000], [[1.0], [-2e-5]], "a value at N = 2000 is -2e-05: it has no logarithm"),
        ([1000, 2000], [[1.0], [np.nan]], "1 values are not finite; leave out what failed"),
    ],
)
def test_what_has_no_exponent_is_refused(sizes: list[float], values: list[list[float]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        exponent(sizes, values)


def test_two_sizes_show_no_convexity() -> None:
    with pytest.raises(ValueError, match="at least 3 different ones are needed; add sizes"):
        convexity([1000, 2000], [[1.0], [2.0]])


def swept(exponents: dict[float, float], sign: float = 1.0) -> xr.DataArray:
    """A power law of the size for each value of another setting, with scatter over seeds."""
    values = np.array([[sign * scattered(np.array(SIZES, float) ** power)] for power in exponents.values()])
    return xr.DataArray(values[:, 0], {"c": list(exponents), "size": SIZES, "seed": range(5)}, ["c", "size", "seed"])


def test_trends_have_the_slopes_of_their_power_laws_at_each_other_setting() -> None:
    found = list(trends({"E": swept({0.0: -1.0, 0.2: 0.0})}, "size", {}))
    assert [(trend.of, trend.here) for trend in found] == [("E", "c = 0"), ("E", "c = 0.2")]
    for trend, power in zip(found, (-1.0, 0.0), strict=True):
        assert trend.slope is not None
        assert trend.slope.value == pytest.approx(power, abs=0.1)
        assert trend.slope.low < trend.slope.value < trend.slope.high
    labels = draw(found, "size", "covariance", "").legends[0].get_texts()
    assert labels[0].get_text().startswith("E, c = 0: slope \N{MINUS SIGN}")


def test_trends_of_negative_values_are_drawn_as_magnitudes_and_of_both_signs_without_a_slope() -> None:
    weights = list(trends({"I_to_E": swept({0.0: -0.5}, -1.0)}, "size", {}))
    panel = draw(weights, "size", "mean weight", "mV").axes[0]
    assert (panel.get_yscale(), panel.get_ylabel()) == ("log", "\N{MINUS SIGN}mean weight [mV]")
    mixed = swept({0.0: -0.5})
    mixed[0, 0, 0] = -1e-3
    assert next(trends({"E": mixed}, "size", {})).slope is None


def test_theory_is_drawn_beside_what_was_measured_and_saved_as_vectors_and_pixels(tmp_path: Path) -> None:
    values = swept({0.0: 0.0})
    parts = tuple(xr.full_like(values, level) for level in (1.0, 0.5, 2.0))
    figure = draw(list(trends({"E": values}, "size", {"E": parts})), "size", "rate", "Hz")
    assert any(line.get_ydata().tolist() == [1.0] * 4 for line in figure.axes[0].lines)
    assert len(figure.axes[0].collections) == 2     # the error bars and the range
    files = save(figure, tmp_path / "rate")
    assert [file.read_bytes()[:4] for file in files] == [b"%PDF", b"\x89PNG"]
    assert [file.name for file in files] == ["rate.pdf", "rate.png"]
