"""Networks made from finished runs of those with conductances, one for each of the same size, input and seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analysis.runs import Run
from analysis.studies.study import Parts
from mpi_engine.experiment import Poisson


def condition(run: Run) -> tuple[float, int, int]:
    """Tell the correlation of a run's input, its N and its seed."""
    e = run.experiment
    train = e.trains["X"]
    assert isinstance(train, Poisson)
    return train.correlation, e.n_neurons, e.seed.base


def effective_models(parts: Parts) -> dict[str, list[Any]]:
    """Make the effective-time-constant model of each network."""
    return _together(_like(run) | {"effective_time_constant.run": str(run.directory.absolute())}
                     for run in parts["conductance"].runs.values())


def matched_networks(parts: Parts) -> dict[str, list[Any]]:
    """Match the conductances of each network at its mean V after the burn-in."""

    def matched(run: Run) -> dict[str, Any]:
        V_mv = {a: float(run.statistics(a).mean["V"][-1].mean()) for a in run.experiment.populations}
        return {f"projections.{name}.match_at_mv": V_mv[p.target] for name, p in run.experiment.projections.items()}

    return _together(_like(run) | matched(run) for run in parts["conductance"].runs.values())


def _like(run: Run) -> dict[str, Any]:
    """Give the settings of the same network."""
    e = run.experiment
    correlation, _, seed = condition(run)
    sizes = {f"populations.{name}.size": size for name, size in e.neuron_counts.items()}
    weights = {f"projections.{name}.weight_mv": p.weight_mv for name, p in e.projections.items()}
    inputs = {"inputs.X.size": e.trains["X"].size, "inputs.X.correlation": correlation}
    return {**sizes, **inputs, **weights, "seed": seed}


def _together(members: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """List the values of each key, as in a sweep's ``[[zip]]``."""
    settings = list(members)
    return {key: [member[key] for member in settings] for key in settings[0]}
