"""What no part of an experiment can check by itself: references between parts, times against the step, sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from mpi_engine.experiment.base import divides
from mpi_engine.experiment.experiment import Experiment
from mpi_engine.experiment.inputs import Injected
from mpi_engine.experiment.plasticity import HebbianHard, Homeostatic
from mpi_engine.experiment.populations import AdaptiveExponential
from mpi_engine.experiment.projections import ExponentialConductance, ExponentialCurrent

MAX_STEPS = 2**31 - 2
MAX_IN_DEGREE = 2**16 - 1
MAX_DELAY_STEPS = 2**15


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an experiment.

    Parameters
    ----------
    key : str
        Path of the key, like ``populations.E.size``.
    value : str
        What was given.
    remedy : str
        What is wrong and what to do.
    """

    key: str
    value: str
    remedy: str

    def __str__(self) -> str:
        """Format as the one line that a user sees."""
        given = f" = {self.value}" if self.value else ""
        line = f"{self.key}{given}: {self.remedy}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class ExperimentError(ValueError):
    """An experiment that cannot be run, with every problem found.

    Parameters
    ----------
    problems : list of Problem
        At least one.
    origin : str
        The file, or what else the experiment came from.
    """

    def __init__(self, problems: list[Problem], origin: str = "experiment") -> None:
        self.problems = problems
        self.origin = origin
        super().__init__(problems, origin)

    def __str__(self) -> str:
        """List the problems, one a line."""
        return "\n".join(f"{self.origin}: {problem}" for problem in self.problems)


def suggest(name: str, known: list[str]) -> str:
    """Name the known words nearest to an unknown one, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"one of: {', '.join(known)}" if known else "none is defined"


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
    return [*_references(e), *_weights(e), *_sizes(e, volleys), *_recorders(e)]


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
    for name, part_of in e.subpopulations.items():
        key = f"subpopulations.{name}.population"
        yield from _reference(key, part_of.population, list(e.populations), "population")
        if name in e.populations or name in e.inputs:
            owner = "a population" if name in e.populations else "an input"
            yield Problem(f"subpopulations.{name}", "", f"{owner} has this name already; rename one of them")
    for name, source in e.inputs.items():
        if isinstance(source, Injected):
            targets = [*e.populations, *e.subpopulations]
            yield from _reference(f"inputs.{name}.target", source.target, targets, "population or subpopulation")
    for name, projection in e.projections.items():
        key = f"projections.{name}"
        sources = [*e.populations, *e.trains]
        yield from _reference(f"{key}.source", projection.source, sources, "population or spiking input")
        yield from _reference(f"{key}.target", projection.target, list(e.populations), "population")
        yield from _reference(f"{key}.synapse", projection.synapse, list(e.synapses), "synapse")
        if projection.plasticity is not None:
            yield from _reference(f"{key}.plasticity", projection.plasticity, list(e.plasticity), "plasticity rule")
    for index, name in enumerate(e.recording.spikes):
        known = [*e.populations, *e.trains]
        yield from _reference(f"recording.spikes.{index}", name, known, "population or spiking input")
    for name in e.recording.traces:
        yield from _reference(f"recording.traces.{name}", name, list(e.populations), "population")


def _weights(e: Experiment) -> Iterator[Problem]:
    for name, p in e.projections.items():
        rule = e.plasticity.get(p.plasticity or "")
        given = p.weight if p.weight_mv is None else p.weight_mv
        conducts = isinstance(e.synapses.get(p.synapse), ExponentialConductance)
        sign = -1.0 if given is not None and given < 0 and not conducts else 1.0
        if isinstance(rule, Homeostatic) and given and rule.weight_norm_mv * sign < 0:
            remedy = f"the weights of {name} have the other sign: the rule would drive rates away from its target"
            yield Problem(f"plasticity.{p.plasticity}.weight_norm_mv", f"{rule.weight_norm_mv:g}", remedy)
        if isinstance(rule, HebbianHard) and conducts and (rule.weight_min_mv is None or rule.weight_min_mv < 0):
            remedy = f"give a bound of at least 0: the conductances of {name} could become negative"
            yield Problem(f"plasticity.{p.plasticity}.weight_min_mv", "", remedy)
        synapse = e.synapses.get(p.synapse)
        key = f"projections.{name}"
        if isinstance(synapse, ExponentialCurrent):
            if p.weight is not None:
                yield Problem(f"{key}.weight", f"{p.weight:g}", f"{p.synapse} is a current: give weight_mv")
            if p.match_at_mv is not None:
                remedy = f"{p.synapse} is a current: only weights of conductances are matched; leave it out"
                yield Problem(f"{key}.match_at_mv", f"{p.match_at_mv:g}", remedy)
        elif isinstance(synapse, ExponentialConductance) and p.weight_mv is not None:
            if p.match_at_mv is None:
                remedy = f"{p.synapse} is a conductance: give weight, or match_at_mv beside weight_mv"
                yield Problem(f"{key}.weight_mv", f"{p.weight_mv:g}", remedy)
            elif p.weight_mv * (synapse.reversal_mv - p.match_at_mv) < 0 or synapse.reversal_mv == p.match_at_mv:
                remedy = f"gives a negative conductance with the reversal potential {synapse.reversal_mv:g} mV"
                yield Problem(f"{key}.match_at_mv", f"{p.match_at_mv:g}", f"{remedy}; check both and the weight's sign")


def _durations(e: Experiment) -> dict[str, float | None]:
    """List every duration by its key."""
    recording = e.recording
    durations: dict[str, float | None] = {"run.duration_ms": e.run.duration_ms}
    durations |= {"recording.segment_ms": recording.segment_ms, "recording.sample_ms": recording.sample_ms}
    durations |= {f"neurons.{name}.refractory_ms": neuron.refractory_ms for name, neuron in e.neurons.items()}
    durations |= {f"projections.{name}.delay_ms": p.delay_ms for name, p in e.projections.items()}
    for name, current in (e.currents | e.noises).items():
        durations |= {f"inputs.{name}.start_ms": current.start_ms, f"inputs.{name}.stop_ms": current.stop_ms}
    durations |= {f"recording.traces.{name}.interval_ms": t.interval_ms for name, t in recording.traces.items()}
    if recording.weights:
        durations["recording.weights.interval_ms"] = recording.weights.interval_ms
    return durations


def _times(e: Experiment) -> Iterator[Problem]:
    dt = e.run.dt_ms
    recording = e.recording
    for key, duration in _durations(e).items():
        if duration is not None and 0 < duration < dt:
            yield Problem(key, f"{duration:g}", f"is below run.dt_ms = {dt:g}; raise it, or lower dt_ms")
        elif duration is not None and not divides(dt, duration):
            yield Problem(key, f"{duration:g}", f"is not a multiple of run.dt_ms = {dt:g}; choose one that is")
    sampled: dict[str, float] = {}
    if recording.rates:
        sampled["recording.rates.bin_ms"] = recording.rates.bin_ms
    if recording.statistics:
        sampled["recording.statistics.start_ms"] = recording.statistics.start_ms
        sampled["recording.statistics.block_ms"] = recording.statistics.block_ms
    for key, duration in sampled.items():
        if not divides(recording.sample_ms, duration):
            remedy = f"is not a multiple of recording.sample_ms = {recording.sample_ms:g}; choose one that is"
            yield Problem(key, f"{duration:g}", remedy)
    if e.n_steps > MAX_STEPS:
        remedy = f"is {float(e.n_steps):.3g} steps, above {MAX_STEPS}; shorten it or raise run.dt_ms"
        yield Problem("run.duration_ms", f"{e.run.duration_ms:g}", remedy)
    constants = {f"synapses.{name}.tau_ms": synapse.tau_ms for name, synapse in e.synapses.items()}
    constants |= {f"plasticity.{name}.tau_ms": rule.tau_ms for name, rule in e.plasticity.items()}
    constants |= {f"neurons.{name}.tau_m_ms": neuron.tau_m_ms for name, neuron in e.neurons.items()}
    constants |= {
        f"neurons.{name}.tau_w_ms": neuron.tau_w_ms
        for name, neuron in e.neurons.items()
        if isinstance(neuron, AdaptiveExponential)
    }
    constants |= {f"inputs.{name}.tau_ms": noise.tau_ms for name, noise in e.noises.items()}
    for key, tau in constants.items():
        if tau < dt:
            yield Problem(key, f"{tau:g}", f"is below run.dt_ms = {dt:g}; lower dt_ms")
    for name, p in e.projections.items():
        if p.delay_ms is not None and e.steps(p.delay_ms) > MAX_DELAY_STEPS:
            remedy = f"is above {MAX_DELAY_STEPS} steps of run.dt_ms; lower it"
            yield Problem(f"projections.{name}.delay_ms", f"{p.delay_ms:g}", remedy)


def _sizes(e: Experiment, volleys: Mapping[str, float]) -> Iterator[Problem]:
    sizes = e.sizes
    for name, size in sizes.items():
        if size > 2**31 - 1:
            part = "populations" if name in e.populations else "inputs"
            yield Problem(f"{part}.{name}.size", str(size), "ids are 32 bits wide; at most 2147483647 is possible")
    for name, p in e.projections.items():
        if p.source not in sizes or p.target not in e.populations:
            continue
        candidates = sizes[p.source] - (p.source == p.target and not p.self_connections)
        if p.in_degree is not None and p.in_degree > candidates:
            remedy = f"{p.source} offers only {candidates} sources; lower it"
            yield Problem(f"projections.{name}.in_degree", str(p.in_degree), remedy)
        mean = p.in_degree if p.in_degree is not None else (p.probability or 0.0) * candidates
        if (mean + 6 * mean**0.5) * volleys.get(p.source, 1.0) > MAX_IN_DEGREE:
            key = "in_degree" if p.in_degree is not None else "probability"
            value = f"{p.in_degree if p.in_degree is not None else p.probability:g}"
            remedy = f"gives about {mean:.0f} synapses a neuron, above {MAX_IN_DEGREE} a projection; lower it"
            yield Problem(f"projections.{name}.{key}", value, remedy)
    for name, part in e.subpopulations.items():
        if part.population not in e.populations:
            continue
        size = e.populations[part.population].size
        if part.neurons is not None:
            last, key = part.neurons[-1], "neurons"
        else:
            last, key = part.first + (part.count or 1) - 1, "first" if part.count is None else "count"
        if last >= size:
            remedy = f"{part.population} has only {size} neurons, counted from 0; the last named is {last}"
            yield Problem(f"subpopulations.{name}.{key}", str(getattr(part, key)), remedy)
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
    return e.members(target)[1].size if population in e.populations else None


def _recorders(e: Experiment) -> Iterator[Problem]:
    recording = e.recording
    for name, traces in recording.traces.items():
        if name not in e.populations:
            continue
        size = e.populations[name].size
        key = f"recording.traces.{name}.neurons"
        if isinstance(traces.neurons, int):
            if traces.neurons > size:
                yield Problem(key, str(traces.neurons), f"{name} has only {size} neurons; ask for fewer")
        elif not traces.neurons:
            yield Problem(key, "[]", "name at least one neuron, or leave the recorder out")
        else:
            if max(traces.neurons) >= size:
                yield Problem(key, str(max(traces.neurons)), f"{name} has only {size} neurons, counted from 0")
            if sorted(set(traces.neurons)) != traces.neurons:
                yield Problem(key, str(traces.neurons), "give the neurons in ascending order, each once")
    if recording.weights:
        for name, edges in recording.weights.histogram_mv.items():
            key = f"recording.weights.histogram_mv.{name}"
            yield from _reference(key, name, list(e.plastic), "plastic projection")
            if edges[0] >= edges[1]:
                yield Problem(key, str(edges), "the lower edge is not below the upper; swap them")


def find_warnings(experiment: Experiment) -> list[Problem]:
    """List what can be run but will probably not do what was meant.

    A change of weight smaller than half the spacing of its number format is lost in rounding: a learning rate can be
    too small for float32.
    """
    return list(_stalling_rates(experiment))


def _stalling_rates(e: Experiment) -> Iterator[Problem]:
    if e.run.weight_dtype == "float64":
        return
    half_spacing = 2.0**-24
    for name, p in e.plastic.items():
        if p.plasticity not in e.plasticity:
            continue
        rule = e.plasticity[p.plasticity]
        scale = e.weight_scale(name)
        weight = e.initial_weight(name)
        trace = rule.tau_ms * 0.005    # of a neuron at 5 Hz
        c = rule.coefficients(scale)
        terms = [(c.a_pre, 1.0), (c.b_pre, trace), (c.a_post, 1.0), (c.b_post, trace)]
        changes = [abs(term[0] + term[1] * weight) * x for term, x in terms if term != (0.0, 0.0)]
        changes = [change for change in changes if change > 0]
        if changes and min(changes) < 4 * half_spacing * abs(weight):
            rate = next((key for key in ("learning_rate", "learning_rate_mv") if hasattr(rule, key)), "rule")
            value = None if rate == "rule" else getattr(rule, rate)
            yield Problem(
                f"plasticity.{p.plasticity}.{rate}",
                "" if value is None else f"{value:g}",
                f"changes of about {min(changes):.1e} mV to weights of {weight:.3g} mV of projection {name} are lost "
                'in float32 rounding; set run.weight_dtype = "float64"',
            )
