"""Injected currents: waveforms exactly, noise against its theory with standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpi_engine.compiled import kernel
from mpi_engine.dynamics.currents import Currents, Drive, inject
from mpi_engine.dynamics.neurons import Population, make_population
from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.network.partition import Partition

DT_MS = 0.1

SIZE = 40


def experiment_with(duration_ms: float, dtype: str = "float64", **inputs: dict[str, Any]) -> Experiment:
    """Neurons that do not spike, subpopulations of them, and currents."""
    neuron = {"model": "lif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_th_mv": 1000.0, "V_reset_mv": -75.0}
    return parse_experiment({
        "seed": 11,
        "run": {"duration_ms": duration_ms, "dt_ms": DT_MS, "state_dtype": dtype},
        "neurons": {"cell": neuron | {"V_init_mv": -72.0}},
        "populations": {"P": {"size": SIZE, "neuron": "cell"}},
        "subpopulations": {
            "late": {"population": "P", "first": 25},
            "some": {"population": "P", "neurons": [3, 8, 21, 39]},
        },
        "inputs": {name: {"kind": "current", "target": "P"} | source for name, source in inputs.items()},
    })


@kernel
def one_step(currents: Currents, neurons: Population, n: int) -> None:
    inject(currents, neurons, n)


def drives(experiment: Experiment, cuts: tuple[int, ...] = (), every: int = 10**9) -> tuple[np.ndarray, np.ndarray]:
    """Drive in every step, step by neuron, put together from the parts of ranks; and the states of noise at the end."""
    parts, states = [], []
    for rank in range(len(cuts) + 1):
        partition = Partition({"P": [0, *cuts, SIZE]})
        neurons = make_population(experiment, "P", partition, rank)
        drive = Drive(experiment, "P", partition, rank, neurons)
        rows = np.empty((experiment.n_steps, neurons.drive.size), neurons.drive.dtype)
        ready = 0
        drive.prepare(0)
        for n in range(1, experiment.n_steps + 1):
            if n - 1 == ready or (n - 1) % every == 0:
                drive.prepare(n - 1)
            ready = drive.next_event(n - 1)
            one_step(drive.currents, neurons, n)
            rows[n - 1] = neurons.drive
        parts.append(rows)
        states.append(np.concatenate([np.empty(0), *drive.state().values()]))
    return np.concatenate(parts, axis=1), np.concatenate(states)


def noise(**changes: Any) -> dict[str, Any]:
    return {"kind": "ornstein_uhlenbeck", "mean_mv_per_ms": 0.4, "std_mv_per_ms": 0.3, "tau_ms": 5.0} | changes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_waveforms_are_their_formulas(dtype: str) -> None:
    experiment = experiment_with(
        250.0,
        dtype,
        wave={"target": "late", "count": 5, "first": 2, "amplitude_mv_per_ms": "1.5*sin(2*pi*t/40) - (t >= 100)"},
        ramp={"target": "some", "neurons": [0, 3], "amplitude_mv_per_ms": 0.1, "ramp_to_mv_per_ms": 0.7,
              "start_ms": 101.0, "stop_ms": 203.0},
        step={"amplitude_mv_per_ms": 0.25, "start_ms": 30.0, "stop_ms": 60.0},
    )  # fmt: skip
    t = np.arange(1, 2501) * DT_MS
    real = np.dtype(dtype).type
    expected = np.zeros((2500, SIZE), dtype)
    expected[300:600] += real(0.25)
    expected[:, 27:32] += (1.5 * np.sin(2 * np.pi * t / 40) - (t >= 100)).astype(dtype)[:, None]
    share = np.arange(1, 1021) / 1020
    expected[1010:2030, [3, 39]] += ((1 - share) * 0.1 + share * 0.7).astype(dtype)[:, None]
    measured, _ = drives(experiment)
    assert np.array_equal(measured, expected)
    assert measured[2029, 3] == real(0.7) + real(0)
    assert np.array_equal(drives(experiment, cuts=(0, 26, 29))[0], expected)
    assert np.array_equal(drives(experiment, every=97)[0], expected)


def test_noise_has_its_moments() -> None:
    """Errors of time averages over T of a process with exponential autocorrelation: 2 tau / T of the variance."""
    tau, c, duration_ms = 5.0, 0.3, 10_000.0
    mean, std = 0.4, 0.3
    rows, state = drives(experiment_with(duration_ms, ou=noise(correlation=c)))
    x = (rows - mean) / std
    assert np.array_equal(x[-1], (std * state + mean - mean) / std)
    independent = duration_ms / (2 * tau)
    shared_error = np.sqrt(c + (1 - c) / SIZE)     # of a mean over neurons whose pairwise correlation is c
    assert abs(x.mean()) < 4 * shared_error / np.sqrt(independent)
    # squares are correlated as exp(-2 t / tau) in time, and as c^2 between neurons, with variance 2
    square_error = np.sqrt(2 * (c**2 + (1 - c**2) / SIZE) / (2 * independent))
    assert abs((x**2).mean() - 1) < 4 * square_error
    for lag in (1, 10, 50, 100):
        rho = np.exp(-lag * DT_MS / tau)
        assert abs((x[lag:] * x[:-lag]).mean() - rho) < 4 * square_error
    # private parts are what remains after the mean over neurons, shared ones are its variance
    pairs = ((x.sum(axis=1) ** 2) - (x**2).sum(axis=1)) / (SIZE * (SIZE - 1))
    pair_error = np.sqrt(2) * shared_error**2 / np.sqrt(2 * independent)
    assert abs(pairs.mean() - c) < 4 * pair_error


def test_noise_is_stationary_from_its_start() -> None:
    """Over many inputs, at the first step and one time constant on."""
    inputs = {f"ou{k}": noise(std_mv_per_ms=1.0, mean_mv_per_ms=0.0, start_ms=0.3 * k, stop_ms=0.3 * k + 0.1)
              for k in range(150)}
    rows, state = drives(experiment_with(60.0, **inputs))
    acting = rows[3 * np.arange(150)]
    n = acting.size
    assert abs(acting.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(acting.mean()) < 4 / np.sqrt(n)
    others = np.setdiff1d(np.arange(600), 3 * np.arange(150))
    assert not rows[others].any()
    assert np.array_equal(np.sort(state), np.sort(acting.ravel()))


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_noise_is_all_private_or_all_shared(c: float) -> None:
    rows, _ = drives(experiment_with(100.0, ou=noise(correlation=c)))
    assert (np.ptp(rows, axis=1) == 0).all() if c else (np.ptp(rows, axis=1) > 0).all()


def test_noise_depends_on_neither_cuts_nor_the_runs_length() -> None:
    source = {"a": noise(correlation=0.2, target="some"), "b": noise(correlation=0.5, tau_ms=1.0, start_ms=10.0)}
    rows, state = drives(experiment_with(130.0, "float32", **source))
    for cuts in ((0, 8, 9), (20,)):
        other, parts = drives(experiment_with(130.0, "float32", **source), cuts)
        assert np.array_equal(rows, other)
        assert np.array_equal(np.sort(state), np.sort(parts))
    longer, _ = drives(experiment_with(200.0, "float32", **source))
    assert np.array_equal(rows, longer[:1300])
