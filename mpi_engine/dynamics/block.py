"""The block kernel: all steps between two events in one compiled call, the collective included.

The kernel of an experiment is written out as a small module that reads like the paper's list of a step, calls the
parts of this package, and is compiled and kept on disk under the hash of its text and of the engine. Only the shape of
the network is in the text; parameters are data, so that a sweep over them compiles once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from mpi_engine.compiled import cache_directory
from mpi_engine.dynamics.currents import are_steady
from mpi_engine.experiment import AdaptiveExponential, Experiment, ExponentialConductance, LeakyIntegrateAndFire, Neuron

_HEAD = '''"""A block kernel, written by mpi_engine.dynamics.block."""

import numpy as np

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.currents import inject
from mpi_engine.dynamics.integrators import exponential_euler, forward_euler
from mpi_engine.dynamics.neurons import adaptation, announce, exponential, find_spikes, hold, reset
from mpi_engine.dynamics.plasticity import remember, update_postsynaptic, update_presynaptic
from mpi_engine.dynamics.recorders import count_spikes, has_room, keep_spikes, observe
from mpi_engine.dynamics.stimulus import announce_train
from mpi_engine.dynamics.synapses import deliver, deliver_and_learn, make_room, slot
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
        plastic = experiment.plastic
        self.learning = list(dict.fromkeys(p.target for p in plastic.values()))
        self.presynaptic = _number((p.source, self.tau(name)) for name, p in plastic.items())
        self.postsynaptic = _number((p.target, self.tau(name)) for name, p in plastic.items())

    def tau(self, projection: str) -> float:
        """Time constant of a plastic projection's traces [ms]."""
        rule = self.experiment.projections[projection].plasticity
        assert rule is not None
        return self.experiment.plasticity[rule].tau_ms

    def traces(self, projection: str) -> tuple[str, str]:
        """Names of the traces of a plastic projection's sources and targets."""
        p, tau = self.experiment.projections[projection], self.tau(projection)
        return f"pre_{self.presynaptic[p.source, tau]}", f"post_{self.postsynaptic[p.target, tau]}"

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
        """Names of the kernel's arguments after the first and last step, the clock and the exchange."""
        return [
            *self.spikers,
            *(f"currents_{name}" for name in self.unsteady),
            *(f"synapses_{name}" for name in self.experiment.projections),
            *(f"pre_{number}" for number in self.presynaptic.values()),
            *(f"post_{number}" for number in self.postsynaptic.values()),
            *(f"history_{name}" for name in self.learning),
            *(f"observations_{name}" for name in self.experiment.populations),
            *(f"spikes_{name}" for name in self.recorded),
            "spike_counts",
            "most_spikes",
            "progress",
        ]


def _number(pairs: Iterable[tuple[str, float]]) -> dict[tuple[str, float], int]:
    return {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}


def block_source(experiment: Experiment) -> str:
    """Write the text of an experiment's block kernel."""
    plan = Plan(experiment)
    functions = [_integrate(experiment, population) for population in experiment.populations]
    return _HEAD + "\n\n".join([*functions, _announce(plan), _block(plan)])


def load_kernels(experiment: Experiment) -> tuple[Any, Any]:
    """Load an experiment's kernels, compiled at the first call unless they are in the cache.

    Returns
    -------
    block : callable
        ``block(first, last, clock, x, *arguments) -> (step, status)``: the steps from first to last, or to the one
        after which a status word was raised or a spike record is full. Arguments as named by `Plan.arguments`.
    prime : callable
        ``prime(n, x, *spikers)``: announces the input spikes of step n + 1 only, with which a run begins.
    """
    module = _module(block_source(experiment))
    return module.block, module.prime


def _module(text: str) -> ModuleType:
    name = f"block_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    path = cache_directory() / f"{name}.py"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(f"{path}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        os.utime(temporary, (1, 1))    # numba stamps caches with the source's time: the name says all, so pin it
        temporary.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _integrate(e: Experiment, population: str) -> str:
    """Write one pass over a population: synapses, then membrane, then threshold."""
    kinds = e.synapses_of(population)
    incoming = [name for name, p in e.projections.items() if p.target == population]
    model = e.neurons[e.populations[population].neuron]
    arguments = ["n", "neurons", *(f"synapses_{name}" for name in incoming)]
    lines = [
        "@part",
        f"def integrate_{population}({', '.join(arguments)}):",
        "    V, w, waiting, above = neurons.V, neurons.w, neurons.waiting, neurons.above",
        "    drive, p = neurons.drive, neurons.parameters",
        *(f"    {s}, decay_{kind} = neurons.currents[{k}], neurons.decay[{k}]"
          for k, (kind, s) in enumerate(_state(e, kinds).items())),
        *(f"    reversal_{kind} = neurons.reversal[{k}]" for k, kind in enumerate(kinds) if _conducts(e, kind)),
        *(f"    n_{name}, gain_{name} = synapses_{name}.arrivals[slot(synapses_{name}, n)], synapses_{name}.gain[0]"
          for name in incoming),
        "    for i in range(V.size):",
    ]
    for kind, state in _state(e, kinds).items():
        of_kind = [name for name in incoming if e.projections[name].synapse == kind]
        recurrent = [name for name in of_kind if e.projections[name].source in e.populations]
        external = [name for name in of_kind if name not in recurrent]
        # a recurrent spike arrives before the decay at the end of its own step, an input spike at the start of a step
        before = f"{state}[i]" + "".join(f" + gain_{name} * n_{name}[i]" for name in recurrent)
        decayed = f"({before}) * decay_{kind}" if recurrent else f"{before} * decay_{kind}"
        after = "".join(f" + gain_{name} * n_{name}[i]" for name in external)
        lines += [f"        {state}[i] = {decayed}{after}"]
    lines += [f"        {line}" for line in _membrane(e, kinds, model)]
    lines += [*(f"        n_{name}[i] = 0" for name in incoming), "    find_spikes(neurons)"]
    return "\n".join(lines) + "\n"


def _membrane(e: Experiment, kinds: list[str], model: Neuron) -> list[str]:
    """Write one step of the membrane potential."""
    state = _state(e, kinds)
    currents = [f"{state[kind]}[i]" for kind in kinds if not _conducts(e, kind)]
    conductances = {kind: f"{state[kind]}[i]" for kind in kinds if _conducts(e, kind)}
    spike = [] if isinstance(model, LeakyIntegrateAndFire) else ["exponential(V[i], p)"]
    adapt = " - w[i]" if isinstance(model, AdaptiveExponential) else ""
    if e.run.integrator == "forward_euler":
        pulls = [f"{g} * (reversal_{kind} - V[i])" for kind, g in conductances.items()]
        slope = " + ".join(["p.leak * (p.E_L - V[i])", *spike, *pulls, *currents, "drive[i]"])
        lines = [f"v = forward_euler(V[i], {slope}{adapt}, p.dt)"]
    else:
        pulls = [f"{g} * reversal_{kind}" for kind, g in conductances.items()]
        b = " + ".join(["p.leak * p.E_L", *spike, *pulls, *currents, "drive[i]"])
        g = " + ".join(["p.leak", *conductances.values()])
        lines = [f"v = exponential_euler(V[i], {b}{adapt}, {g}, p.dt)"]
    if adapt:
        lines += ["w[i] = adaptation(w[i], V[i], p)"]
    if model.refractory_ms:
        lines += ["v = hold(v, waiting[i], p)", "waiting[i] = max(waiting[i] - 1, 0)"]
    return [*lines, "above[i] = v >= p.V_th", "V[i] = min(v, p.V_th)"]


def _conducts(e: Experiment, kind: str) -> bool:
    return isinstance(e.synapses[kind], ExponentialConductance)


def _state(e: Experiment, kinds: list[str]) -> dict[str, str]:
    """Name the arrays of synaptic currents and conductances."""
    return {kind: f"g_{kind}" if _conducts(e, kind) else f"I_{kind}" for kind in kinds}


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


def _block(plan: Plan) -> str:
    """Write the loop over steps."""
    e = plan.experiment
    loop = ["# 1 stimulus", *_deliver(plan, e.trains), *_update_presynaptic(plan, e.trains)]
    for name in e.trains:
        loop += _record_spikes(plan, name)
    loop += [f"inject(currents_{name}, neurons_{name}, n)" for name in plan.unsteady]
    loop += ["# 2 integrate"]
    for name in e.populations:
        incoming = [f"synapses_{projection}" for projection, p in e.projections.items() if p.target == name]
        loop += [f"integrate_{name}({', '.join(['n', f'neurons_{name}', *incoming])})"]
    loop += [f"observe(observations_{name}, neurons_{name}, clock, n)" for name in e.populations]
    loop += ["# 3 exchange", f"announce_all(n, x, {', '.join(plan.spikers)})", "status = exchange(x)"]
    loop += ["# 4 deliver, and 5 learn: presynaptic events", *_deliver(plan, e.populations)]
    loop += ["# 5 learn: postsynaptic events are noted, and applied when a row is visited; then traces"]
    for name, p in e.plastic.items():
        pre, _ = plan.traces(name)
        loop += [f"make_room(synapses_{name}, {pre}, history_{p.target}, neurons_{p.target}, n)"]
    loop += [f"remember(history_{name}, neurons_{name}, n)" for name in plan.learning]
    loop += _update_presynaptic(plan, e.populations)
    loop += [f"update_postsynaptic(post_{k}, neurons_{name})" for (name, _), k in plan.postsynaptic.items()]
    loop += ["# 6 record and reset"]
    for name in e.populations:
        loop += [*_record_spikes(plan, name), f"reset(neurons_{name})"]
    room = [f"has_room(spikes_{name}, most_spikes[index_{name}])" for name in plan.recorded]
    full = f" or not ({' and '.join(room)})" if room else ""
    loop += ["progress[0] = n", f"if status != 0{full}:", "    return n, status"]
    head = ["@kernel", f"def block(first, last, clock, x, {', '.join(plan.arguments)}):"]
    head += [f"    {plan.indices}", "    for n in range(first, last + 1):"]
    return "\n".join([*head, *(f"        {line}" for line in loop), "    return last, 0", ""])


def _deliver(plan: Plan, sources: Container[str]) -> list[str]:
    lines = []
    for name, p in plan.experiment.projections.items():
        if p.source not in sources:
            continue
        if p.plasticity is None:
            lines += [f"deliver(synapses_{name}, x, index_{p.source}, n)"]
        else:
            learning = ", ".join([*plan.traces(name), f"history_{p.target}"])
            lines += [f"deliver_and_learn(synapses_{name}, {learning}, x, index_{p.source}, n)"]
    return lines


def _update_presynaptic(plan: Plan, sources: Container[str]) -> list[str]:
    return [f"update_presynaptic(pre_{k}, x, index_{name}, n)"
            for (name, _), k in plan.presynaptic.items() if name in sources]


def _record_spikes(plan: Plan, name: str) -> list[str]:
    keep = [f"keep_spikes(spikes_{name}, x, index_{name}, n)"] if name in plan.recorded else []
    return [*keep, f"count_spikes(spike_counts, progress, x, index_{name}, clock, n)"]
