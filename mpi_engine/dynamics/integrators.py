"""Integrators: one step of a membrane, and the decay of whatever decays exponentially."""

from __future__ import annotations

from mpi_engine.compiled import Real, kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.network.mathematics import exp


def decay_factor(experiment: Experiment, tau_ms: float) -> float:
    """Factor by which a variable of a time constant [ms] decays in a step, by the run's integrator."""
    x = experiment.run.dt_ms / tau_ms
    return 1 - x if experiment.run.integrator == "forward_euler" else exp_of(-x)


@kernel
def exp_of(x: float) -> float:
    """Exponential function, for Python."""
    return exp(x)


@part
def forward_euler(x: Real, slope: Real, dt: Real) -> Real:
    """Variable one step later, with a constant slope."""
    return x + dt * slope


@part
def exponential_euler(x: Real, slope: Real, rate: Real, dt: Real) -> Real:
    r"""Variable one step later, where :math:`dx/dt = b - g x` has the given slope, with constant b and rate g.

    Exact for constant conductances and currents (Zhu, Ocker & Rosenbaum 2026); forward Euler where the rate is zero.
    """
    one = type(x)(1)
    return x + ((one - exp(-(dt * rate))) / rate if rate > 0 else dt) * slope
