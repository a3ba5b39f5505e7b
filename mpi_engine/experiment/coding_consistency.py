"""What no part of an experiment with a coding network can check by itself."""

from __future__ import annotations

from collections.abc import Iterator

from mpi_engine.experiment.base import divides
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.coding_network import EvenDecoder, GivenDecoder
from mpi_engine.experiment.consistency import MAX_STEPS
from mpi_engine.experiment.phases import FormulaInput
from mpi_engine.experiment.problems import Problem, suggest
from mpi_engine.experiment.teachers import RecordedTeacher


def find_coding_problems(experiment: CodingExperiment) -> list[Problem]:
    """List what is inconsistent between the parts of an experiment with a coding network."""
    e = experiment
    return [*_times(e), *_shapes(e), *_phases(e), *_deaths(e), *_recorders(e)]


def _times(e: CodingExperiment) -> Iterator[Problem]:
    dt, checks_ms, weights_ms = e.run.dt_ms, e.health.interval_ms, e.health.weights_interval_ms
    if not divides(checks_ms, weights_ms):
        remedy = f"is not a multiple of health.interval_ms = {checks_ms:g}; choose one that is"
        yield Problem("health.weights_interval_ms", f"{weights_ms:g}", remedy)
    for key, duration in e.durations():
        if not divides(dt, duration):
            yield Problem(key, f"{duration:g}", f"is not a multiple of run.dt_ms = {dt:g}; choose one that is")
    if e.n_steps > MAX_STEPS:
        remedy = f"is {float(e.n_steps):.3g} steps, above {MAX_STEPS}; shorten it or raise run.dt_ms"
        yield Problem("run.duration_ms", f"{e.run.duration_ms:g}", remedy)
    rates = {"network.leak_per_s": e.network.leak_per_s, "learning.decay_per_s": e.learning.decay_per_s}
    for key, rate in rates.items():
        if rate * dt * 1e-3 > 0.1:
            yield Problem(key, f"{rate:g}", f"is too fast for run.dt_ms = {dt:g}; lower one of them")


def _shapes(e: CodingExperiment) -> Iterator[Problem]:
    decoder, n, k = e.network.decoder, e.network.size, e.n_dimensions
    if isinstance(decoder, GivenDecoder):
        if len(decoder.vectors) != n:
            remedy = f"has {len(decoder.vectors)} vectors, but network.size = {n}; give one for each neuron"
            yield Problem("network.decoder.vectors", "", remedy)
        for index, vector in enumerate(decoder.vectors):
            if len(vector) != k:
                remedy = f"must have {k} components, one for each dimension of the teacher"
                yield Problem(f"network.decoder.vectors.{index}", str(vector), remedy)
    elif isinstance(decoder, EvenDecoder) and k > 3:
        remedy = f'is defined in up to 3 dimensions, and the teacher has {k}; set it to "random"'
        yield Problem("network.decoder.kind", "'evenly_spaced'", remedy)
    if n < k + 1:
        yield Problem("network.size", str(n), f"cannot span {k} dimensions in both directions; give {k + 1} at least")
    if e.network.drift == "exact" and isinstance(e.teacher, RecordedTeacher):
        yield Problem("network.drift", "'exact'", 'needs a teacher whose f is known; set it to "learned"')
    if e.network.spikes_per_step > n:
        remedy = f"there are only {n} neurons; lower it"
        yield Problem("network.spikes_per_step", str(e.network.spikes_per_step), remedy)


def _phases(e: CodingExperiment) -> Iterator[Problem]:
    last, is_recorded = list(e.phases)[-1], isinstance(e.teacher, RecordedTeacher)
    for name, phase in e.phases.items():
        key = f"phases.{name}"
        if phase.duration_ms is None and phase.does == "learn":
            yield Problem(f"{key}.duration_ms", "", "is required, for the learning rate changes over it")
        elif phase.duration_ms is None and (name != last or e.trials is not None):
            yield Problem(f"{key}.duration_ms", "", "is required, for only the last phase lasts to the end of the run")
        if phase.state is not None and len(phase.state) != e.n_dimensions:
            yield Problem(f"{key}.state", str(phase.state), f"must have {e.n_dimensions} components, one a dimension")
        elif phase.state is not None and is_recorded:
            yield Problem(f"{key}.state", str(phase.state), "a recorded trajectory goes its own way; leave it out")
        if isinstance(phase.input, FormulaInput) and len(phase.input.c_per_s) != e.n_dimensions:
            remedy = f"must have {e.n_dimensions} components, one for each dimension of the teacher"
            yield Problem(f"{key}.input.c_per_s", str(phase.input.c_per_s), remedy)
    if e.trials is not None and e.trials.from_phase not in e.phases:
        remedy = f"there is no phase of this name; {suggest(e.trials.from_phase, list(e.phases))}"
        yield Problem("trials.from_phase", repr(e.trials.from_phase), remedy)


def _deaths(e: CodingExperiment) -> Iterator[Problem]:
    n = e.network.size
    dead = 0.0
    listed: set[int] = set()
    for name, death in e.deaths.items():
        key = f"deaths.{name}"
        if death.neurons is not None:
            if death.neurons and max(death.neurons) >= n:
                remedy = f"there are only {n} neurons, counted from 0"
                yield Problem(f"{key}.neurons", str(max(death.neurons)), remedy)
            listed |= set(death.neurons)
        dead = max(dead, (death.fraction or 0.0) * n)
        if max(dead, len(listed)) > n / 2:
            given, value = ("fraction", death.fraction) if death.neurons is None else ("neurons", len(listed))
            remedy = f"leaves more dead neurons than live ones of {n}; let fewer die"
            yield Problem(f"{key}.{given}", str(value), remedy)
            return


def _recorders(e: CodingExperiment) -> Iterator[Problem]:
    currents = e.recording.currents
    if currents is None:
        return
    n, key = e.network.size, "recording.currents.neurons"
    chosen = currents.neurons
    if isinstance(chosen, int):
        if chosen > n:
            yield Problem(key, str(chosen), f"there are only {n} neurons; ask for fewer")
    elif not chosen or sorted(set(chosen)) != chosen:
        yield Problem(key, str(chosen), "name at least one neuron, in ascending order, each once")
    elif chosen[-1] >= n:
        yield Problem(key, str(chosen[-1]), f"there are only {n} neurons, counted from 0")
