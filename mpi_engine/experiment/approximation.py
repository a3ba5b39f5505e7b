"""Making the effective-time-constant model of an experiment with conductances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpi_engine.experiment.base import Distribution, Part, scaled
from mpi_engine.experiment.data import DataError
from mpi_engine.experiment.experiment import Experiment
from mpi_engine.experiment.populations import ExponentialIntegrateAndFire, LeakyIntegrateAndFire
from mpi_engine.experiment.problems import Problem
from mpi_engine.experiment.projections import ExponentialConductance, ExponentialCurrent

_KEY = "effective_time_constant"


def resolve_effective(experiment: Experiment, directory: Path) -> tuple[Experiment, list[Problem]]:
    """Read the means that the effective model needs, if one is asked for and not made yet.

    Parameters
    ----------
    experiment : Experiment
        Its references need not be sound.
    directory : Path
        What the run's path is relative to.

    Returns
    -------
    experiment : Experiment
        With its means, but otherwise as it was: see `approximate`.
    problems : list of Problem
        Why it has no effective model.
    """
    effective = experiment.effective_time_constant
    if effective is None:
        return experiment, []
    if effective.is_applied:
        return experiment, list(_leftovers(experiment))
    populations = _conducting(experiment)
    problems = list(_obstacles(experiment, populations))
    if not populations:
        return experiment, problems
    try:
        effective = effective.read(directory, {name: experiment.sizes[name] for name in populations})
    except DataError as error:
        problems.append(Problem(f"{_KEY}.{error.key}", repr(getattr(effective, error.key)), str(error)))
    return experiment.model_copy(update={_KEY: effective}), problems


def approximate(experiment: Experiment) -> Experiment:
    """Make the effective model of an experiment that has the means for it; parameters as in `EffectiveTimeConstant`.

    Every population with conductances gets a neuron of its own, named after both.
    """
    e, effective = experiment, experiment.effective_time_constant
    assert effective is not None and effective.V_mv is not None and effective.g_per_ms is not None
    populations, projections, neurons = dict(e.populations), dict(e.projections), {}
    for name, population in e.populations.items():
        kind = population.neuron
        if name in effective.V_mv:
            kind = f"{kind}_{name}"
            leak = {"E_L_mv": effective.V_mv[name], "tau_m_ms": 1 / effective.g_per_ms[name]}
            neurons[kind] = e.neurons[population.neuron].model_copy(update=leak | _spike_current(e, name))
            populations[name] = population.model_copy(update={"neuron": kind})
        else:
            neurons[kind] = e.neurons[kind]
    for name, p in e.projections.items():
        synapse = e.synapses[p.synapse]
        if isinstance(synapse, ExponentialConductance):
            driving_mv = synapse.reversal_mv - effective.V_mv[p.target]
            weight_mv = scaled(p.given_weight, e.weight_unit(name) * driving_mv)
            changes = {"weight_mv": weight_mv, "weight": None, "match_at_mv": None}
            projections[name] = p.model_copy(update=changes)
    synapses = {
        name: ExponentialCurrent(kind="exponential_current", tau_ms=kind.tau_ms)
        if isinstance(kind, ExponentialConductance) else kind
        for name, kind in e.synapses.items()
    }
    changed = {"populations": populations, "neurons": neurons, "projections": projections, "synapses": synapses}
    return e.model_copy(update=changed)


def _conducting(e: Experiment) -> list[str]:
    """Names of the populations that conductances act on."""
    conductances = [name for name, kind in e.synapses.items() if isinstance(kind, ExponentialConductance)]
    targets = [p.target for p in e.projections.values() if p.synapse in conductances and p.target in e.populations]
    return list(dict.fromkeys(targets))


def _obstacles(e: Experiment, populations: list[str]) -> Iterator[Problem]:
    if not populations:
        yield Problem(_KEY, "", "no synapse is a conductance, so there is nothing to approximate; leave it out")
    for name, p in e.projections.items():
        if p.rules:
            remedy = "weights that learn have no effective model; leave it out, or start from learned weights"
            yield Problem(f"projections.{name}.plasticity", str(p.plasticity), remedy)
    for name in populations:
        kind = e.populations[name].neuron
        neuron = e.neurons.get(kind)
        if neuron is None:
            continue
        if not isinstance(neuron, (LeakyIntegrateAndFire, ExponentialIntegrateAndFire)):
            remedy = f"the effective model sets tau_m_ms and E_L_mv of a lif or eif, which {name} is not; use one"
            yield Problem(f"neurons.{kind}.model", repr(neuron.model), remedy)
        elif _has_drawn_spike_current(neuron):
            remedy = f"the spike current of {name} would follow from it; give spike_current_mv_per_ms as well"
            yield Problem(f"neurons.{kind}.tau_m_ms", str(_shown(neuron.tau_m_ms)), remedy)
        if f"{kind}_{name}" in e.neurons:
            yield Problem(f"neurons.{kind}_{name}", "", f"the effective model of {name} takes this name; rename it")


def _leftovers(e: Experiment) -> Iterator[Problem]:
    for name, kind in e.synapses.items():
        if isinstance(kind, ExponentialConductance):
            remedy = f"is a conductance, but {_KEY} has V_mv and g_per_ms, as if it were applied; leave these out"
            yield Problem(f"synapses.{name}", "", f"{remedy}, and run_hash")


def _has_drawn_spike_current(neuron: Any) -> bool:
    follows = isinstance(neuron, ExponentialIntegrateAndFire) and neuron.spike_current_mv_per_ms is None
    return follows and isinstance(neuron.tau_m_ms, Part)


def _spike_current(e: Experiment, population: str) -> dict[str, float | Distribution]:
    """Write down the spike current, lest it follow the new time constant."""
    neuron = e.neurons[e.populations[population].neuron]
    if not isinstance(neuron, ExponentialIntegrateAndFire) or neuron.spike_current_mv_per_ms is not None:
        return {}
    assert isinstance(neuron.tau_m_ms, float)
    return {"spike_current_mv_per_ms": scaled(neuron.Delta_T_mv, 1 / neuron.tau_m_ms)}


def _shown(value: float | Distribution) -> Any:
    return value.model_dump() if isinstance(value, Part) else value
