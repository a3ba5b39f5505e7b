"""The block kernel: all steps between two events in one compiled call, the collective included.

The kernel of an experiment is written out as a small module that reads like the paper's list of a step, calls the
parts of this package, and is compiled and kept on disk under the hash of its text and of the engine. Only the shape of
the network is in the text; parameters are data, so that a sweep over them compiles once.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import groupby
from operator import itemgetter
from types import ModuleType

from mpi_engine.dynamics.currents import are_steady
from mpi_engine.dynamics.functions import Functions
from mpi_engine.dynamics.generated import load_module
from mpi_engine.dynamics.learning import Learning
from mpi_engine.dynamics.membrane import Membrane
from mpi_engine.dynamics.synapses import awaited
from mpi_engine.experiment import Experiment
from mpi_engine.network.adjacency import is_dense

Line = tuple[str, str]
"""The part of a step that a line's time counts for, and the line."""

_HEAD = '''"""A block kernel, written by mpi_engine.dynamics.block."""

from collections import namedtuple

import numpy as np

from mpi_engine.compiled import inlined, kernel, part
from mpi_engine.dynamics.currents import inject
from mpi_engine.dynamics.delivery import add_arrivals, count_arrivals, count_dense_arrivals, slot
from mpi_engine.dynamics.integrators import exponential_euler, forward_euler
from mpi_engine.dynamics.neurons import announce, find_spikes
from mpi_engine.dynamics.plasticity import (
    drifted, fades, last_event, remember, remember_trace, row_of, trace_at, trace_of, traces_of,
    update_postsynaptic, update_presynaptic,
)
from mpi_engine.dynamics.recorders import count_spikes, has_room, keep_spikes, observe, trace
from mpi_engine.dynamics.stimulus import announce_train
from mpi_engine.dynamics.stopwatch import begin_laps, end_lap
from mpi_engine.dynamics.visits import Learn, visits_of
from mpi_engine.network.exchange import exchange

'''


class Plan:
    """Names and order of everything in an experiment's step.

    Parameters
    ----------
    experiment : Experiment
        The network.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.spiking = list(experiment.sizes)
        self.recorded = [name for name in self.spiking if name in experiment.recording.spikes]
        self.unsteady = [name for name in experiment.populations if not are_steady(experiment, name)]
        self.learning = Learning(experiment)
        self.remembering = list(dict.fromkeys(p.target for p in experiment.plastic.values()))

    @property
    def indices(self) -> str:
        """Statement that numbers what spikes; as variables, lest numba compile every part anew for each number."""
        numbers = (f"np.int64({index})" for index, _ in enumerate(self.spiking))
        return f"{', '.join(f'index_{name}' for name in self.spiking)} = {', '.join(numbers)}"

    @property
    def spikers(self) -> list[str]:
        """Names of the arguments that announce spikes."""
        e = self.experiment
        return [*(f"neurons_{name}" for name in e.populations), *(f"train_{name}" for name in e.trains)]

    @property
    def arguments(self) -> list[str]:
        """Names of the block kernel's arguments after the first and last step, the clock and the exchange."""
        e = self.experiment
        return [
            *self.spikers,
            *(f"currents_{name}" for name in self.unsteady),
            *(f"synapses_{name}" for name in e.projections),
            *(f"rules_{name}" for name in e.plastic),
            *(f"pre_{number}" for number in self.learning.presynaptic.values()),
            *(f"post_{number}" for number in self.learning.postsynaptic.values()),
            *(f"history_{name}" for name in self.remembering),
            *(f"observations_{name}" for name in e.populations),
            *(f"traces_{name}" for name in e.recording.traces),
            *(f"spikes_{name}" for name in self.recorded),
            "spike_counts",
            "most_spikes",
            "progress",
            "laps",
        ]

    @property
    def laps(self) -> list[str]:
        """Which part of a step each lap belongs to; see `Stopwatch`."""
        return [part for part, _ in groupby(_step(self), itemgetter(0))]


def block_source(plan: Plan) -> str:
    """Write the text of an experiment's kernels."""
    e, functions = plan.experiment, Functions()
    texts = [Membrane(e, population, functions).text() for population in e.populations]
    texts += [plan.learning.text(projection, functions) for projection in e.plastic]
    imports = [line for line in functions.lines if line.startswith("from ")]
    parts = [line for line in functions.lines if not line.startswith("from ")]
    return _HEAD + "\n".join([*imports, "", *parts, "", ""]) + "\n\n".join([*texts, _announce(plan), _block(plan)])


def load_kernels(plan: Plan) -> ModuleType:
    """Load an experiment's kernels, compiled at the first call unless they are in the cache.

    Returns
    -------
    module
        ``block(first, last, clock, x, *arguments) -> (step, status)``: the steps from first to last, or to the one
        after which a status word was raised or a spike record is full. Arguments as named by `Plan.arguments`.
        ``prime(n, x, *spikers)``: announces the input spikes of step n + 1 only, with which a run begins.
        ``catch_up_<projection>(n, weights, synapses, *arguments)``: writes the weights after step n; arguments as named
        by `Learning.arguments`.
    """
    return load_module("block", block_source(plan))


def _announce(plan: Plan) -> str:
    """Write the message of a step: recurrent spikes of this one, input spikes of the next."""
    e, spikers = plan.experiment, ", ".join(plan.spikers)
    lines = [
        "@part",
        f"def announce_all(n, x, {spikers}):",
        f"    {plan.indices}",
        f"    end = np.int64({1 + len(plan.spiking)})",
        *(f"    end = announce(neurons_{name}, x, end, index_{name})" for name in e.populations),
        *(f"    end = announce_train(train_{name}, x, end, index_{name}, n + 1)" for name in e.trains),
        "",
        "",
        "@kernel",
        f"def prime(n, x, {spikers}):",
        *(f"    neurons_{name}.n_fired[0] = 0" for name in e.populations),
        f"    announce_all(n, x, {spikers})",
        "    exchange(x)",
    ]
    return "\n".join(lines) + "\n"


def _step(plan: Plan) -> list[Line]:
    """Write the lines of a step."""
    e = plan.experiment
    step = [("stimulus", "# 1 stimulus"), *_deliver(plan, e.trains), *_update_presynaptic(plan, e.trains)]
    for name in e.trains:
        step += _record_spikes(plan, name)
    step += [("stimulus", f"inject(currents_{name}, neurons_{name}, n)") for name in plan.unsteady]
    step += [("integrate", "# 2 integrate")]
    for name in e.populations:
        incoming = [f"synapses_{projection}" for projection in awaited(e, name)]
        step += [("integrate", f"integrate_{name}({', '.join(['n', f'neurons_{name}', *incoming])})")]
    step += [("record", f"observe(observations_{name}, neurons_{name}, clock, n)") for name in e.populations]
    step += [("record", f"trace(traces_{name}, neurons_{e.members(name)[0]}, n)") for name in e.recording.traces]
    exchange = ["# 3 exchange", f"announce_all(n, x, {', '.join(plan.spikers)})", "status = exchange(x)"]
    step += [("exchange", line) for line in exchange]
    step += [("deliver", "# 4 deliver, and 5 learn: presynaptic events"), *_deliver(plan, e.populations)]
    learn = ["# 5 learn: postsynaptic events are noted, and applied when a row is visited; then traces"]
    for name, p in e.plastic.items():
        state = f"synapses_{name}, history_{p.target}, neurons_{p.target}, n"
        learn += [f"make_room_{name}({state}, learn_{name})"]
    for name in plan.remembering:
        for k, trace in enumerate(plan.learning.sampled[name]):
            number = plan.learning.postsynaptic[trace]
            learn += [f"remember_trace(history_{name}, {k}, post_{number}, neurons_{name})"]
        learn += [f"remember(history_{name}, neurons_{name}, n)"]
    step += [("learn", line) for line in learn]
    step += _update_presynaptic(plan, e.populations)
    step += [("learn", f"update_postsynaptic(post_{k}, neurons_{trace.population})")
             for trace, k in plan.learning.postsynaptic.items()]
    step += [("record", "# 6 record and reset")]
    for name in e.populations:
        step += [*_record_spikes(plan, name), ("record", f"reset_all_{name}(n, neurons_{name})")]
    return step


def _block(plan: Plan) -> str:
    """Write the loop over steps."""
    loop = ["begin_laps(laps, n)"]
    for _, lines in groupby(_step(plan), itemgetter(0)):
        loop += [*(line for _, line in lines), "end_lap(laps, n)"]
    room = [f"has_room(spikes_{name}, most_spikes[index_{name}])" for name in plan.recorded]
    full = f" or not ({' and '.join(room)})" if room else ""
    loop += ["progress[0] = n", f"if status != 0{full}:", "    return n, status"]
    head = ["@kernel", f"def block(first, last, clock, x, {', '.join(plan.arguments)}):"]
    head += [f"    {plan.indices}"]
    for name in plan.experiment.plastic:
        head += [f"    learn_{name} = ({', '.join(plan.learning.arguments(name).values())})"]
    head += ["    for n in range(first, last + 1):"]
    return "\n".join([*head, *(f"        {line}" for line in loop), "    return last, 0", ""])


def _deliver(plan: Plan, sources: Container[str]) -> list[Line]:
    """Write the delivery of spikes; a row that learns is delivered on the same walk, which counts as learning."""
    e, lines = plan.experiment, []
    for name, p in e.projections.items():
        if p.source not in sources:
            continue
        if not p.rules:
            spikes = f"x, index_{p.source}, n"
            if p.has_drawn_weights:
                deliver = f"add_arrivals(synapses_{name}, {spikes})"
            elif is_dense(e, name):
                current = f"neurons_{p.target}.currents[{e.synapses_of(p.target).index(p.synapse)}]"
                deliver = f"count_dense_arrivals(synapses_{name}, {current}, {spikes})"
            else:
                deliver = f"count_arrivals(synapses_{name}, {spikes})"
            lines += [("deliver", deliver)]
        else:
            state = f"synapses_{name}, history_{p.target}, x, index_{p.source}, n, learn_{name}"
            lines += [("learn", f"deliver_{name}({state})")]
    return lines


def _update_presynaptic(plan: Plan, sources: Container[str]) -> list[Line]:
    return [("learn", f"update_presynaptic(pre_{k}, x, index_{trace.population}, n)")
            for trace, k in plan.learning.presynaptic.items() if trace.population in sources]


def _record_spikes(plan: Plan, name: str) -> list[Line]:
    keep = [f"keep_spikes(spikes_{name}, x, index_{name}, n)"] if name in plan.recorded else []
    return [("record", line) for line in (*keep, f"count_spikes(spike_counts, progress, x, index_{name}, clock, n)")]
