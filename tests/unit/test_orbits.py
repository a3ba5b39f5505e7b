"""Measures of free-running systems and of balance, on trajectories whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.coding import balance_of
from analysis.orbits import (
    find_cycle,
    marginal_distances,
    orbit_distance,
    prediction_horizon_s,
    return_map_distance,
    root_mean_square_error,
    settled_states,
    size_of,
    switch_rate_hz,
)

T_S = np.arange(0.0, 20.0, 0.002)


def ellipse(frequency_hz: float, radii: tuple[float, float] = (2.0, 0.5), phase: float = 0.0) -> np.ndarray:
    angle = 2 * np.pi * frequency_hz * T_S + phase
    return np.column_stack([radii[0] * np.cos(angle), radii[1] * np.sin(angle)])


def test_period_and_amplitudes_of_a_noisy_cycle() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.02, (T_S.size, 2))
    cycle = find_cycle(ellipse(1.3) + noise, 0.002)
    assert cycle.period_s == pytest.approx(1 / 1.3, rel=2e-3)
    np.testing.assert_allclose(cycle.amplitude, [2.0, 0.5], atol=0.08)     # extremes of noise of .02 lie about 3 out


def test_a_point_has_no_period() -> None:
    assert np.isnan(find_cycle(np.ones((100, 2)), 0.01).period_s)


def test_distance_of_orbits_ignores_phase_and_sees_size() -> None:
    assert orbit_distance(ellipse(1.0, (1.0, 1.0)), ellipse(1.1, (1.0, 1.0), phase=2.0)) < 0.01
    assert orbit_distance(ellipse(1.0, (1.2, 1.2)), ellipse(1.0, (1.0, 1.0))) == pytest.approx(0.2, abs=0.01)
    half = ellipse(1.0, (1.0, 1.0))
    # a quarter of a turn covers part of the circle: the way back is long though the way there is not
    assert orbit_distance(half[:125], half) > 0.5
    assert size_of(ellipse(1.0, (1.0, 1.0))) == pytest.approx(1.0, rel=1e-3)
    assert size_of(np.full((50, 2), 3.0)) == pytest.approx(3.0 * np.sqrt(2))


def test_horizon_is_the_time_of_the_first_large_error() -> None:
    truth = np.zeros((1000, 3))
    measured = truth.copy()
    measured[400:, 1] = 0.31
    measured[500:] = 0.0
    assert prediction_horizon_s(measured, truth, 0.002) == pytest.approx(0.8)
    assert prediction_horizon_s(truth, truth, 0.002) == pytest.approx(2.0)
    assert root_mean_square_error(measured, truth) == pytest.approx(0.31 * np.sqrt(0.1))


def test_switches_between_lobes_are_counted_once() -> None:
    x = np.sign(np.sin(2 * np.pi * 0.25 * T_S)) + np.random.default_rng(1).normal(0.0, 0.1, T_S.size)
    assert switch_rate_hz(x, 0.002) == pytest.approx(0.5, abs=0.06)


def test_marginal_distance_of_a_shift_is_the_shift() -> None:
    x = np.random.default_rng(2).normal(0.0, 2.0, (20_000, 2))
    np.testing.assert_allclose(marginal_distances(x + np.array([0.0, 1.0]), x), [0.0, 0.5], atol=5e-3)


def test_return_map_tells_a_tent_from_a_constant() -> None:
    """Bumps whose heights follow the tent map; against bumps of one height."""
    heights = [0.37]
    for _ in range(300):
        heights.append(0.999 * (1 - abs(1 - 2 * heights[-1])))
    bump = 1 - np.cos(np.linspace(0, 2 * np.pi, 100, endpoint=False))

    def signal(values: list[float]) -> np.ndarray:
        return np.concatenate([(1 + value) * bump for value in values])

    truth = [signal(heights[:200])]
    assert return_map_distance([signal(heights[100:])], truth) < 0.03
    assert return_map_distance([signal([0.2] * 100)], truth) > 0.1
    # every bump of many short runs is on the map, the way from one run to the next is not
    short = [signal(heights[i : i + 5]) for i in range(100, 280, 5)]
    assert return_map_distance(short, truth) < 0.03
    assert return_map_distance([np.concatenate(short[::-1])], truth) > 0.03


def test_ends_are_told_apart() -> None:
    truth = [np.full((50, 1), 1.0), np.full((50, 1), -1.0), np.full((50, 1), 1.0), np.full((50, 1), -1.0)]
    measured = [np.full((50, 1), 0.95), np.full((50, 1), -1.1), np.full((50, 1), -0.9), np.full((50, 1), -1.0)]
    correct, distance = settled_states(measured, truth)
    assert correct == 0.75
    np.testing.assert_allclose(distance, [0.05, 0.1, 1.9, 0.0])


def test_balance_of_known_currents() -> None:
    random = np.random.default_rng(3)
    drive = 5 + random.normal(size=(50_000, 1))
    excitation, inhibition = drive + 0.5 * random.normal(size=drive.shape), -drive
    balance = balance_of(excitation, inhibition)
    assert balance.correlation[0] == pytest.approx(1 / np.sqrt(1.25), abs=0.01)
    assert balance.net_over_total[0] == pytest.approx(0.5 * np.sqrt(2 / np.pi) / 10, rel=0.03)
