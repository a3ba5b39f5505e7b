"""What no part of an experiment can check by itself: references between parts, times against the step, sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mpi_engine.experiment.base import Distribution, Part, average, divides, highest, lowest
from mpi_engine.experiment.experiment import Experiment
from mpi_engine.experiment.inputs import Injected
from mpi_engine.experiment.pairs import Homeostatic
from mpi_engine.experiment.plasticity import Normalisation, UserRule
from mpi_engine.experiment.populations import UserNeuron
from mpi_engine.experiment.problems import Problem, suggest
from mpi_engine.experiment.projections import ExponentialConductance, ExponentialCurrent, Projection

MAX_SIZE = 2**31 - 1
MAX_STEPS = 2**31 - 2**16     # inputs are made, and refractoriness ends, some thousand steps ahead
MAX_IN_DEGREE = 2**16 - 1
MAX_DELAY_STEPS = 2**15
MAX_REFRACTORY_STEPS = 2**15 - 1
MAX_SAMPLES = 2**33     # of a bin, of which each is some 2^29 units where it is large, in sums of 63 bits
CUT = " (a normal distribution is cut at six standard deviations)"


def find_problems(experiment: Experiment, volleys: Mapping[str, float]) -> list[Problem]:
    """List what is inconsistent between the parts of an experiment; parameters as for `find_structural_problems`."""
    return [*find_structural_problems(experiment, volleys), *_times(experiment)]


def find_structural_problems(experiment: Experiment, volleys: Mapping[str, float]) -> list[Problem]:
    """List what is inconsistent apart from times, which can be judged only against a valid time step.

    Parameters
    ----------
    experiment : Experiment
        What is checked.
    volleys : mapping of str to float
        Most spikes of a source in one step, by input; one where it is not named.
    """
    e = experiment
    problems = [*_references(e), *_variables(e), *_subpopulations(e), *_weights(e), *_connections(e)]
    return [*problems, *_sizes(e, volleys), *_recorders(e), *_samples(e), *_health(e)]


def _reference(key: str, name: str, known: list[str], what: str) -> Iterator[Problem]:
    if name not in known:
        yield Problem(key, repr(name), f"there is no {what} of this name; {suggest(name, known)}")


def _references(e: Experiment) -> Iterator[Problem]:
    for name, population in e.populations.items():
        yield from _reference(f"populations.{name}.neuron", population.neuron, list(e.neurons), "neuron")
        if name in e.inputs:
            yield Problem(f"inputs.{name}", "", "a population has this name already; rename one of them")
    for part, names, reserved in (("synapses", e.synapses, "total"), ("populations", e.populations, "rates")):
        if reserved in names:
            yield Problem(f"{part}.{reserved}", "", "the run file needs this name itself; choose another")
    for name, source in e.inputs.items():
        if isinstance(source, Injected):
            targets = [*e.populations, *e.subpopulations]
            yield from _reference(f"inputs.{name}.target", source.target, targets, "population or subpopulation")
    for name, projection in e.projections.items():
        key = f"projections.{name}"
        sources = [*e.populations, *e.subpopulations, *e.trains]
        targets = [*e.populations, *e.subpopulations]
        yield from _reference(f"{key}.source", projection.source, sources, "population or spiking input")
        yield from _reference(f"{key}.target", projection.target, targets, "population")
        yield from _reference(f"{key}.synapse", projection.synapse, list(e.synapses), "synapse")
        for rule in projection.rules:
            yield from _reference(f"{key}.plasticity", rule, list(e.plasticity), "plasticity rule")
    for index, name in enumerate(e.recording.spikes):
        known = [*e.populations, *e.trains]
        yield from _reference(f"recording.spikes.{index}", name, known, "population or spiking input")
    for name in e.recording.traces:
        known = [*e.populations, *e.subpopulations]
        yield from _reference(f"recording.traces.{name}", name, known, "population or subpopulation")
    if e.recording.rates:
        yield from _parts(e, "recording.rates.subpopulations", e.recording.rates.subpopulations)


def _variables(e: Experiment) -> Iterator[Problem]:
    for name, population in e.populations.items():
        neuron = e.neurons.get(population.neuron)
        if not isinstance(neuron, UserNeuron):
            continue
        for variable in (e.variable_of(kind) for kind in e.synapses_of(name) if kind in e.synapses):
            if variable in neuron.state:
                remedy = f"a synapse of {name} has a variable of this name; rename the state variable, or the synapse"
                yield Problem(f"neurons.{population.neuron}.file", repr(variable), remedy)


def _subpopulations(e: Experiment) -> Iterator[Problem]:
    for name, some in e.subpopulations.items():
        key = f"subpopulations.{name}"
        if name in e.populations or name in e.inputs:
            owner = "a population" if name in e.populations else "an input"
            yield Problem(key, "", f"{owner} has this name already; rename one of them")
        if some.population not in e.populations:
            yield from _reference(f"{key}.population", some.population, list(e.populations), "population")
            continue
        size = e.populations[some.population].size
        if some.last >= size:
            end = "neurons" if some.neurons is not None else "first" if some.count is None else "count"
            number = some.last if some.neurons is not None else getattr(some, end)
            remedy = f"{some.population} has only {size} neurons, counted from 0; the last one named is {some.last}"
            yield Problem(f"{key}.{end}", str(number), remedy)
    for name, p in e.projections.items():
        for end, part, population in p.parts:
            if part in e.subpopulations and e.subpopulations[part].population != population:
                remedy = f"is no subpopulation of {population}; name it as the {end.partition('_')[0]} instead"
                yield Problem(f"projections.{name}.{end}", repr(part), remedy)
            yield from _reference(f"projections.{name}.{end}", part, list(e.subpopulations), "subpopulation")


def _weights(e: Experiment) -> Iterator[Problem]:
    for name, p in e.projections.items():
        given = average(p.given_weight)
        for rule_name in p.rules:
            rule = e.plasticity.get(rule_name)
            if isinstance(rule, Homeostatic) and rule.weight_norm_mv * given < 0:
                remedy = f"the weights of {name} have the other sign: the rule would drive rates away from its target"
                yield Problem(f"plasticity.{rule_name}.weight_norm_mv", f"{rule.weight_norm_mv:g}", remedy)
            if isinstance(rule, Normalisation) and rule.sum_mv is not None and rule.sum_mv * given < 0:
                remedy = f"the weights of {name} have the other sign, and would change it; give their sum the same sign"
                yield Problem(f"plasticity.{rule_name}.sum_mv", f"{rule.sum_mv:g}", remedy)
            bounds = [key for key in ("weight_min_mv", "weight_max_mv") if getattr(rule, key, None) is not None]
            if bounds and p.synapse in e.synapses and e.weight_unit(name) < 0:
                remedy = f"bounds turn around for the matched inhibitory conductance of {name}; give it weight instead"
                yield Problem(f"plasticity.{rule_name}.{bounds[0]}", f"{getattr(rule, bounds[0]):g}", remedy)
        if len(set(p.rules)) < len(p.rules):
            yield Problem(f"projections.{name}.plasticity", str(p.rules), "names a rule twice; once is enough")
        synapse = e.synapses.get(p.synapse)
        key = f"projections.{name}"
        if isinstance(synapse, ExponentialCurrent):
            if p.weight is not None:
                yield Problem(f"{key}.weight", _shown(p.weight), f"{p.synapse} is a current: give weight_mv")
            if p.match_at_mv is not None:
                remedy = f"{p.synapse} is a current: only weights of conductances are matched; leave it out"
                yield Problem(f"{key}.match_at_mv", f"{p.match_at_mv:g}", remedy)
        elif isinstance(synapse, ExponentialConductance) and p.weight_mv is not None:
            if p.match_at_mv is None:
                remedy = f"{p.synapse} is a conductance: give weight, or match_at_mv beside weight_mv"
                yield Problem(f"{key}.weight_mv", _shown(p.weight_mv), remedy)
            elif given * (synapse.reversal_mv - p.match_at_mv) < 0 or synapse.reversal_mv == p.match_at_mv:
                remedy = f"gives a negative conductance with the reversal potential {synapse.reversal_mv:g} mV"
                yield Problem(f"{key}.match_at_mv", f"{p.match_at_mv:g}", f"{remedy}; check both and the weight's sign")


def _shown(value: float | Distribution) -> str:
    return str(value.model_dump()) if isinstance(value, Part) else f"{value:g}"


def _durations(e: Experiment) -> dict[str, float | None]:
    """List every duration by its key."""
    recording = e.recording
    durations: dict[str, float | None] = {"run.duration_ms": e.run.duration_ms}
    durations |= {"run.checkpoint_every_ms": e.run.checkpoint_every_ms}
    durations |= {"recording.segment_ms": recording.segment_ms, "recording.sample_ms": recording.sample_ms}
    durations["health.interval_ms"] = e.health.interval_ms
    durations |= {f"neurons.{name}.refractory_ms": neuron.refractory_ms for name, neuron in e.neurons.items()}
    common = {name: p.delay_ms for name, p in e.projections.items() if isinstance(p.delay_ms, float)}
    durations |= {f"projections.{name}.delay_ms": delay for name, delay in common.items()}
    for name, current in (e.currents | e.noises).items():
        durations |= {f"inputs.{name}.start_ms": current.start_ms, f"inputs.{name}.stop_ms": current.stop_ms}
    for name, rule in e.plasticity.items():
        if isinstance(rule, Normalisation):
            durations[f"plasticity.{name}.interval_ms"] = rule.interval_ms
        durations |= {f"plasticity.{name}.schedule.{k}.start_ms": step.start_ms for k, step in enumerate(rule.schedule)}
    durations |= {f"recording.traces.{name}.interval_ms": t.interval_ms for name, t in recording.traces.items()}
    if recording.weights:
        durations["recording.weights.interval_ms"] = recording.weights.interval_ms
    if recording.statistics and recording.statistics.average_ms is not None:
        durations["recording.statistics.start_ms"] = recording.statistics.start_ms
        durations["recording.statistics.average_ms"] = recording.statistics.average_ms
    return durations


def _time_constants(e: Experiment) -> dict[str, float | Distribution | None]:
    """List every time constant by its key."""
    kinds: Mapping[str, Mapping[str, Part]] = {
        "synapses": e.synapses, "plasticity": e.plasticity, "neurons": e.neurons, "inputs": e.noises
    }
    return {
        f"{kind}.{name}.{key}": getattr(part, key)
        for kind, parts in kinds.items()
        for name, part in parts.items()
        for key in type(part).model_fields
        if key.startswith("tau_")
    } | {
        f"plasticity.{name}.parameters.{key}": rule.parameters[key]
        for name, rule in e.plasticity.items() if isinstance(rule, UserRule)
        for key in rule.declaration.traces.values()
    }


def _times(e: Experiment) -> Iterator[Problem]:
    dt = e.run.dt_ms
    recording = e.recording
    for key, duration in _durations(e).items():
        if duration is not None and 0 < duration < dt:
            yield Problem(key, f"{duration:g}", f"is below run.dt_ms = {dt:g}; raise it, or lower dt_ms")
        elif duration is not None and not divides(dt, duration):
            yield Problem(key, f"{duration:g}", f"is not a multiple of run.dt_ms = {dt:g}; choose one that is")
    checks = ("health.interval_ms", e.health.interval_ms)
    sampled = [("health.weights_interval_ms", e.health.weights_interval_ms, *checks)]
    sample = ("recording.sample_ms", recording.sample_ms)
    if recording.rates:
        sampled.append(("recording.rates.bin_ms", recording.rates.bin_ms, *sample))
    if recording.statistics:
        start, block = recording.statistics.start_ms, recording.statistics.block_ms
        if recording.statistics.average_ms is None:
            sampled.append(("recording.statistics.start_ms", start, *sample))
        else:
            sample = ("recording.statistics.average_ms", recording.statistics.average_ms)
        sampled.append(("recording.statistics.block_ms", block, *sample))
    for key, duration, unit, unit_ms in sampled:
        if not divides(unit_ms, duration):
            yield Problem(key, f"{duration:g}", f"is not a multiple of {unit} = {unit_ms:g}; choose one that is")
    if e.n_steps > MAX_STEPS:
        remedy = f"is {float(e.n_steps):.3g} steps, above {MAX_STEPS}; shorten it or raise run.dt_ms"
        yield Problem("run.duration_ms", f"{e.run.duration_ms:g}", remedy)
    for key, tau in _time_constants(e).items():
        if tau is not None and lowest(tau) < dt:
            yield Problem(key, f"{lowest(tau):g}", f"is below run.dt_ms = {dt:g}; lower dt_ms")
    remedy = f"is above {MAX_REFRACTORY_STEPS} steps of run.dt_ms = {dt:g}; lower it"
    yield from (Problem(f"neurons.{name}.refractory_ms", f"{neuron.refractory_ms:g}", remedy)
                for name, neuron in e.neurons.items() if e.steps(neuron.refractory_ms) > MAX_REFRACTORY_STEPS)
    for name, p in e.projections.items():
        key = f"projections.{name}.delay_ms"
        if isinstance(p.delay_ms, Part) and lowest(p.delay_ms) < dt:
            remedy = f"reaches down to {lowest(p.delay_ms):.3g} ms, below run.dt_ms = {dt:g}; raise or narrow it"
            yield Problem(key, _shown(p.delay_ms), f"{remedy}{CUT}")
        if p.delay_ms is not None and e.steps(highest(p.delay_ms)) > MAX_DELAY_STEPS:
            remedy = f"reaches above {MAX_DELAY_STEPS} steps of run.dt_ms; lower it"
            yield Problem(key, _shown(p.delay_ms), remedy)


def _connected(e: Experiment) -> Iterator[tuple[str, Projection]]:
    """Go through the projections whose ends exist, so that one mistake is not several."""
    possible = {name: size for name, size in e.sizes.items() if size <= MAX_SIZE}
    sound = [name for name, some in e.subpopulations.items() if some.last < possible.get(some.population, 0)]
    for name, p in e.projections.items():
        known = p.source in possible and p.target in possible and p.target in e.populations
        if known and all(part in sound for _, part, _ in p.parts):
            yield name, p


def _connections(e: Experiment) -> Iterator[Problem]:
    for name, p in _connected(e):
        key = f"projections.{name}"
        if isinstance(p.probability, list):
            shape = {"columns": len(p.probability[0]), "rows": len(p.probability)}
            for (blocks, number), part in zip(shape.items(), e.ends(name), strict=True):
                size = e.count(part)
                if number > size:
                    yield Problem(f"{key}.probability", "", f"has {number} {blocks}, but {part} only {size} neurons")
        if p.profile is not None:
            places = [e.positions(p.source), e.positions(p.target)]
            if None in places:
                missing = p.source if places[0] is None else p.target
                where = "inputs have none" if missing in e.inputs else f"give populations.{missing}.positions"
                yield Problem(f"{key}.profile", "", f"{missing} has no positions; {where}")
            elif places[0] != places[1]:
                remedy = f"{p.source} lives on a {places[0]}, {p.target} on a {places[1]}; give both the same positions"
                yield Problem(f"{key}.profile", "", remedy)


def _sizes(e: Experiment, volleys: Mapping[str, float]) -> Iterator[Problem]:
    sizes = e.sizes
    for name, size in sizes.items():
        if size > MAX_SIZE:
            part = "populations" if name in e.populations else "inputs"
            yield Problem(f"{part}.{name}.size", str(size), f"ids are 32 bits wide; at most {MAX_SIZE} is possible")
    for name, p in _connected(e):
        candidates = e.candidates(name)
        if isinstance(p.in_degree, int) and p.in_degree > candidates:
            remedy = f"{e.ends(name)[0]} offers only {candidates} sources; lower it"
            yield Problem(f"projections.{name}.in_degree", str(p.in_degree), remedy)
        _, most = e.expected_in_degree(name)
        volley = volleys.get(p.source, 1.0)
        if (most + 6 * most**0.5) * volley > MAX_IN_DEGREE:
            key = "in_degree" if p.in_degree is not None else "probability"
            together = f", and a source of {p.source} up to {volley:.0f} spikes in a step" if volley >= 2 else ""
            remedy = f"gives about {most:.0f} synapses a neuron{together}, above {MAX_IN_DEGREE} a projection; lower it"
            yield Problem(f"projections.{name}.{key}", str(p.in_degree or p.probability), remedy)
    for name, current in e.currents.items():
        n = _size_of(e, current.target)
        if n is None:
            continue
        if current.neurons is not None and current.neurons[-1] >= n:
            remedy = f"{current.target} has only {n} neurons, counted from 0"
            yield Problem(f"inputs.{name}.neurons", str(current.neurons[-1]), remedy)
        elif current.first + (current.count or 1) > n:
            end, number = ("first", current.first) if current.count is None else ("count", current.count)
            remedy = f"the slice ends beyond {current.target}, which has {n} neurons"
            yield Problem(f"inputs.{name}.{end}", str(number), remedy)


def _size_of(e: Experiment, target: str) -> int | None:
    """Count the neurons of a population or subpopulation; None if there is none of this name."""
    population = e.subpopulations[target].population if target in e.subpopulations else target
    return e.count(target) if population in e.populations else None


def _recorders(e: Experiment) -> Iterator[Problem]:
    recording = e.recording
    for name, traces in recording.traces.items():
        if not _are_neurons(e, name):
            continue
        size, key = e.count(name), f"recording.traces.{name}.neurons"
        if isinstance(traces.neurons, int):
            if traces.neurons > size:
                yield Problem(key, str(traces.neurons), f"{name} has only {size} neurons; ask for fewer")
        elif not traces.neurons:
            yield Problem(key, "[]", "name at least one neuron, or leave the recorder out")
        else:
            if name in e.populations:
                if max(traces.neurons) >= size:
                    yield Problem(key, str(max(traces.neurons)), f"{name} has only {size} neurons, counted from 0")
            elif strangers := np.setdiff1d(traces.neurons, e.members(name)[1]).tolist():
                remedy = f"is not in {name}; give ids within {e.subpopulations[name].population} of its members"
                yield Problem(key, str(strangers[0]), remedy)
            if sorted(set(traces.neurons)) != traces.neurons:
                yield Problem(key, str(traces.neurons), "give the neurons in ascending order, each once")
    if recording.weights:
        for name, edges in recording.weights.histogram_mv.items():
            key = f"recording.weights.histogram_mv.{name}"
            yield from _range(e, key, name, edges)
        for name, subpopulations in recording.weights.targets.items():
            yield from _reference(f"recording.weights.targets.{name}", name, list(e.plastic), "plastic projection")
            yield from _parts(e, f"recording.weights.targets.{name}", subpopulations)
            target = e.plastic[name].target if name in e.plastic else ""
            for index, part in enumerate(subpopulations):
                if not _are_neurons(e, part) or not _are_neurons(e, target):
                    continue
                onto, of = e.members(target)[0], e.members(part)[0]
                if onto != of:
                    remedy = f"is part of {of}, but {name} goes to {onto}; choose a part of it"
                    yield Problem(f"recording.weights.targets.{name}.{index}", repr(part), remedy)


def _samples(e: Experiment) -> Iterator[Problem]:
    for name, population in e.populations.items() if e.has_shadow_voltage else ():
        if isinstance(e.neurons.get(population.neuron), UserNeuron):
            remedy = f"the leak of {name} is not known, whose neuron is a user's own; leave it out"
            yield Problem("recording.statistics.shadow_voltage", "true", remedy)
    if e.recording.rates and e.neuron_counts:
        bin_ms, sample_ms = e.recording.rates.bin_ms, e.recording.sample_ms
        size, name = max((size, name) for name, size in e.neuron_counts.items())
        if (samples := size * bin_ms / sample_ms) > MAX_SAMPLES:
            remedy = f"has {samples:.3g} samples of {name} in a bin, above {MAX_SAMPLES}; lower it or raise sample_ms"
            yield Problem("recording.rates.bin_ms", f"{bin_ms:g}", remedy)


def _health(e: Experiment) -> Iterator[Problem]:
    for name, bounds in e.health.weights_mv.items():
        yield from _range(e, f"health.weights_mv.{name}", name, bounds)


def _range(e: Experiment, key: str, projection: str, ends: list[float]) -> Iterator[Problem]:
    yield from _reference(key, projection, list(e.plastic), "plastic projection")
    if ends[0] >= ends[1]:
        yield Problem(key, str(ends), "the lower end is not below the upper; swap them")


def _parts(e: Experiment, key: str, names: list[str]) -> Iterator[Problem]:
    for index, name in enumerate(names):
        yield from _reference(f"{key}.{index}", name, list(e.subpopulations), "subpopulation")
        if name in names[:index]:
            yield Problem(f"{key}.{index}", repr(name), "is named twice; leave one out")


def _are_neurons(e: Experiment, name: str) -> bool:
    """Say whether a name is a population, or a subpopulation that lies within one."""
    part = e.subpopulations.get(name)
    population = e.populations.get(name if part is None else part.population)
    if part is None or population is None:
        return population is not None
    return part.last < population.size
