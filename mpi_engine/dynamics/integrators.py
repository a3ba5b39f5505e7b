"""Integrators: one step of a membrane, and the decay of whatever decays exponentially."""

from __future__ import annotations

from mpi_engine.compiled import Real, kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.network.mathematics import exp


def decay_factor(experiment: Experiment, tau_ms: float) -> float:
    """Factor by which a variable of a time constant [ms] decays in a step, by the run's integrator."""
    x = experiment.run.dt_ms / tau_ms
    return 1 - x if experiment.run.integrator == "forward_euler" else _exp(-x)


@kernel
def _exp(x: float) -> float:
    return exp(x)


@part
def forward_euler(V: Real, slope: Real, dt: Real) -> Real:
    """Membrane potential one step later, with a constant slope."""
    return V + dt * slope


@part
def exponential_euler(V: Real, drive: Real, conductance: Real, dt: Real) -> Real:
    r"""Membrane potential one step later, where :math:`dV/dt = b - g V` with constant b and g > 0.

    Exact for constant conductances and currents (Zhu, Ocker & Rosenbaum 2026).
    """
    one = type(V)(1)
    return V + (one - exp(-(dt * conductance))) / conductance * (drive - conductance * V)
