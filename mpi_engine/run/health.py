"""Health: what no run goes on with, looked for on a cadence of biological time, and agreed upon by all ranks.

What is found depends on the state alone and not on how it is cut over ranks: of all that is wrong at a time, the first
variable counts, and of that the lowest id. Only a rank's memory is its own affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from mpi_engine.output.writers import Writer
from mpi_engine.run.state import Common, Synapses
from mpi_engine.run.stepping import Stepping

DUMP = "unhealthy.h5"
"""The state in which a run was found unhealthy."""

DERIVED = ("/history/", "/recorders/")
"""Groups of the state that hold copies and sums of what other groups hold."""


class UnhealthyError(RuntimeError):
    """A run that cannot go on as it does; one line that names what is wrong, where, when, and what to do."""


@dataclass(frozen=True, order=True)
class Finding:
    """One value that is wrong.

    Parameters
    ----------
    order : int
        Place of its variable among all.
    ids : tuple of int
        Of its neuron; of its synapse's target, then source.
    value : float
        What it is.
    words : str
        The variable with its ids, and what is wrong about the value.
    """

    order: int
    ids: tuple[int, ...]
    value: float
    words: str


def write_dump(writer: Writer, directory: Path, simulation: Stepping, verdict: UnhealthyError) -> Path:
    """Collective. Write the whole state of an unhealthy simulation, right after its records were taken."""
    path, step = directory / DUMP, simulation.step
    attributes = {"step": step, "time_ms": step * simulation.experiment.run.dt_ms, "verdict": str(verdict)}
    writer.write(path, simulation.save(), attributes)
    return path


class Health:
    """Looks after a simulation.

    Parameters
    ----------
    simulation : Stepping
        What is looked after; what is remembered between checks becomes part of its state.
    """

    def __init__(self, simulation: Stepping) -> None:
        self._simulation = simulation
        self._experiment = simulation.experiment
        limits = self._experiment.health
        self._interval = min(self._experiment.steps(limits.interval_ms), self._experiment.n_steps)
        self._weights_interval = self._experiment.steps(limits.weights_interval_ms)
        self._before = simulation.progress.copy()
        simulation.state.append(Common.of("/health/progress", self._before, simulation.ranks))

    def advance(self, last: int) -> int:
        """Collective. Advance as `Stepping.advance` does, with the checks that are due on the way.

        Raises
        ------
        UnhealthyError
            On every rank, if something is wrong on any.
        """
        simulation, status, due = self._simulation, 0, 0
        while not status and due < last:
            due = min((simulation.step // self._interval + 1) * self._interval, last)
            status = simulation.advance(due)
            self.check()
            if simulation.step < due:
                break
        return status

    def check(self) -> None:
        """Collective. Check what is due after the simulation's last step, if anything is.

        Raises
        ------
        UnhealthyError
            On every rank, if something is wrong on any.
        """
        step = self._simulation.step
        if step == 0 or step % self._interval:
            return
        self._agree(self._find_in_state() or self._find_in_memory())
        self._check_rates(step)
        if step % self._weights_interval == 0:
            self._agree(self._find_in_weights())
        self._before[:] = self._simulation.progress

    def check_all(self) -> None:
        """Collective. Check the whole state, as before a checkpoint; raises like `check`."""
        self._agree(self._find_in_state())
        self._agree(self._find_in_weights())

    def _agree(self, finding: Finding | None) -> None:
        """Collective. Raise on every rank the first of the ranks' findings."""
        ranks = self._simulation.ranks
        if not ranks.sum(np.array([finding is not None], np.int64))[0]:
            return
        first = min(found for found in ranks.gather(finding) if found is not None)
        raise self._error(first.words)

    def _error(self, words: str) -> UnhealthyError:
        step = self._simulation.step
        return UnhealthyError(f"unhealthy at {step * self._experiment.run.dt_ms:.10g} ms, step {step}: {words}")

    def _find_in_state(self) -> Finding | None:
        for order, variable in enumerate(self._simulation.state):
            watched = not isinstance(variable, Synapses) and not variable.path.startswith(DERIVED)
            if watched and variable.values.dtype.kind == "f":
                finite = np.isfinite(variable.values)
                if not finite.all():
                    row, *column = np.argwhere(~finite)[0].tolist()
                    value = float(variable.values[row, *column])
                    gid = variable.first + row
                    return Finding(order, (gid,), value, f"{variable.path} of id {gid} is {value}; lower run.dt_ms, "
                                   "or look for input or weights that grow without bound")
        return None

    def _check_rates(self, step: int) -> None:
        """Compare each population's spikes since the last check, which every rank knows, with the limits."""
        limits = self._experiment.health
        if step - self._before[0] != self._experiment.steps(limits.interval_ms):     # too short to tell
            return
        window_s = limits.interval_ms * 1e-3
        spikes = self._simulation.progress[1:] - self._before[1:]
        for (name, size), count in zip(self._experiment.neuron_counts.items(), spikes.tolist(), strict=False):
            rate_hz = count / (size * window_s)
            if rate_hz > limits.max_rate_hz:
                limit, remedy = f"above health.max_rate_hz = {limits.max_rate_hz:g}", "weaken excitation or raise it"
            elif limits.min_rate_hz is not None and rate_hz < limits.min_rate_hz:
                limit, remedy = f"below health.min_rate_hz = {limits.min_rate_hz:g}", "strengthen input or lower it"
            else:
                continue
            since = f"in the last {self._experiment.health.interval_ms:g} ms"
            raise self._error(f"the rate of {name} is {rate_hz:.6g} Hz {since}, {limit}; {remedy}")

    def _find_in_weights(self) -> Finding | None:
        for order, synapses in enumerate(self._simulation.present_synapses()):
            w, largest = synapses.values, np.finfo(synapses.values.dtype).max
            bounds = np.clip(self._experiment.healthy_weights(synapses.name), -largest, largest)
            low, high = bounds.astype(w.dtype)
            if w.size == 0 or (low <= w.min() and w.max() <= high):     # false where one is not a number
                continue
            beyond = np.flatnonzero(~((low <= w) & (w <= high)))
            source, target = synapses.ends(beyond)
            simulation, onto = self._simulation, self._experiment.projections[synapses.name].target
            target += simulation.partition.span(onto, simulation.ranks.rank)[0]
            first = np.lexsort((source, target))[0]
            ids, value = (int(target[first]), int(source[first])), float(w[beyond[first]])
            words = f"{synapses.path} from id {ids[1]} to id {ids[0]} is {value:.9g}, not from {low:.9g} to {high:.9g}"
            remedy = "lower the learning rate, or change the bounds in health.weights_mv or the rule"
            return Finding(order, ids, value, f"{words}; {remedy}")
        return None

    def _find_in_memory(self) -> Finding | None:
        limit_gb = self._experiment.health.max_memory_gb
        if limit_gb is None or (used_gb := psutil.Process().memory_info().rss / 1e9) <= limit_gb:
            return None
        rank = self._simulation.ranks.rank
        words = f"the memory of rank {rank} is {used_gb:.3f} GB, above health.max_memory_gb = {limit_gb:g}"
        return Finding(len(self._simulation.state), (rank,), used_gb, f"{words}; take more ranks, or raise it")
