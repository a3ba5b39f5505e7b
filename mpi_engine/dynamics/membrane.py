"""The text of a population's part of a step: synapses, membrane, threshold, reset."""

from __future__ import annotations

import itertools
from typing import cast

import numpy as np

from mpi_engine.dynamics.functions import Functions, call, parameter_class
from mpi_engine.dynamics.neurons import Model, model_of, parameters_of
from mpi_engine.dynamics.synapses import awaited
from mpi_engine.experiment import Experiment, UserSynapse
from mpi_engine.user import SynapseModel, load


class Membrane:
    """Writes the functions of one population.

    Parameters
    ----------
    experiment : Experiment
        The network.
    population : str
        Which.
    functions : Functions
        Where the model's functions are made known.
    """

    def __init__(self, experiment: Experiment, population: str, functions: Functions) -> None:
        self.e, self.population = experiment, population
        self.kinds = experiment.synapses_of(population)
        self.incoming = awaited(experiment, population)
        self.neuron = experiment.populations[population].neuron
        self.model: Model = model_of(experiment, population)
        self.parameters = parameters_of(experiment, population)
        self.slope = functions.name(self.model.slope, f"slope_{self.neuron}")
        self.reset = functions.name(self.model.reset, f"reset_{self.neuron}")
        real = np.dtype(experiment.run.state_dtype).type
        self.own: dict[str, tuple[SynapseModel, str]] = {}
        for kind in self.kinds:
            synapse = experiment.synapses[kind]
            if isinstance(synapse, UserSynapse):
                declared = cast(SynapseModel, load(synapse.source, synapse.file, synapse.function, real))
                self.own[kind] = (declared, functions.name(declared.function, f"synapse_{kind}"))
        rows = itertools.count()     # not names: two of the user's put together may be the same as two others
        self.synaptic = {kind: {variable: f"synaptic{next(rows)}" for variable in declared.state}
                         for kind, (declared, _) in self.own.items()}

    def text(self) -> str:
        """Write the functions ``integrate_`` and ``reset_all_`` of the population."""
        classes = parameter_class(f"neuron_{self.population}", list(self.parameters))
        for k, (declared, _) in enumerate(self.own.values()):
            classes += parameter_class(f"synapse{k}_{self.population}", list(declared.parameters))
        return "\n".join([*classes, "", "", *self._integrate(), "", "", *self._reset(), ""])

    def _p(self, index: str) -> str:
        """Write the construction of ``p`` for a neuron."""
        rows = iter(range(len(self.parameters)))
        terms = [f"varied[{next(rows)}, {index}]" if isinstance(value, np.ndarray) else f"c{k}"
                 for k, value in enumerate(self.parameters.values())]
        return f"p = neuron_{self.population}({', '.join(terms)})"

    def _constants(self) -> list[str]:
        """Write the loads of constant parameters, and of ``p`` where it is the same for all neurons."""
        n = len(self.parameters)
        lines = ["c, varied = neurons.parameters, neurons.varied"]
        lines += [", ".join(f"c{k}" for k in range(n)) + ", = " + ", ".join(f"c[{k}]" for k in range(n)) + ","]
        lines += [f"dt = c[{n}]"]
        return lines if self.is_varied else [*lines, self._p("0")]

    @property
    def is_varied(self) -> bool:
        """Whether a parameter differs between neurons."""
        return any(isinstance(value, np.ndarray) for value in self.parameters.values())

    @property
    def is_refractory(self) -> bool:
        """Whether V is held for a while after a spike."""
        return self.e.neurons[self.neuron].refractory_ms > 0

    def _integrate(self) -> list[str]:
        e, name = self.e, self.population
        state = {kind: e.variable_of(kind) for kind in self.kinds}
        lines = ["V, drive, above = neurons.V, neurons.drive, neurons.above"]
        lines += ["real = V.dtype.type"]
        lines += [f"s_{variable} = neurons.state[{k}]" for k, variable in enumerate(self.model.state)]
        lines += [f"{s}, decay_{kind} = neurons.currents[{k}], neurons.decay[{k}]"
                  for k, (kind, s) in enumerate(state.items())]
        lines += [f"reversal_{kind} = neurons.reversal[{k}]" for k, kind in enumerate(self.kinds) if e.conducts(kind)]
        lines += [f"n_{p}, gain_{p} = synapses_{p}.arrivals[slot(synapses_{p}, n)], synapses_{p}.gain[0]"
                  for p in self.incoming]
        lines += ["free = neurons.V_free"] if e.has_shadow_voltage else []
        lines += ["held_until, now = neurons.held_until, np.int32(n)"] if self.is_refractory else []
        lines += self._constants()
        arrays = itertools.chain(*(own.values() for own in self.synaptic.values()))
        lines += [f"{array} = neurons.synaptic[{row}]" for row, array in enumerate(arrays)]
        constant = len(self.parameters) + 1
        for k, (kind, (declared, _)) in enumerate(self.own.items()):
            terms = ", ".join(f"c[{constant + k}]" for k in range(len(declared.parameters)))
            lines += [f"p_{kind} = synapse{k}_{name}({terms})"]
            constant += len(declared.parameters)
        loop = [self._p("i")] if self.is_varied else []
        for kind, s in state.items():
            loop += self._synapse(kind, s)
        loop += self._membrane(state)
        loop += [f"n_{p}[i] = 0" for p in self.incoming]
        arguments = ", ".join(["n", "neurons", *(f"synapses_{p}" for p in self.incoming)])
        return ["@inlined", f"def integrate_{name}({arguments}):", *_indent(lines), "    for i in range(V.size):",
                *_indent(_indent(loop)), "    find_spikes(neurons)"]

    def _synapse(self, kind: str, s: str) -> list[str]:
        """Write one step of a current or conductance."""
        of_kind = [p for p in self.incoming if self.e.projections[p].synapse == kind]
        recurrent = [p for p in of_kind if self.e.projections[p].source in self.e.populations]
        external = [p for p in of_kind if p not in recurrent]
        if kind in self.own:
            declared, alias = self.own[kind]
            known = {variable: f"{array}[i]" for variable, array in self.synaptic[kind].items()}
            arrived = " + ".join(map(_arrived, [*recurrent, *external]))
            values = ", ".join([*known.values(), f"{s}[i]"])
            known |= {"arrived": arrived, "V": "V[i]", "dt": "dt", "p": f"p_{kind}"}
            return [f"{values} = {call(declared.function, alias, known)}"]
        # a recurrent spike arrives before the decay at the end of its own step, an input spike at the start of a step
        before = " + ".join([f"{s}[i]", *map(_arrived, recurrent)])
        decayed = f"({before}) * decay_{kind}" if recurrent else f"{before} * decay_{kind}"
        return [f"{s}[i] = {' + '.join([decayed, *map(_arrived, external)])}"]

    def _membrane(self, state: dict[str, str]) -> list[str]:
        """Write one step of the membrane potential and of the model's state variables."""
        e, model = self.e, self.model
        lines = [f"I = {self._current(state, 'V[i]')}"]
        lines += self._shadow(state) if e.has_shadow_voltage else []
        known = {"V": "V[i]", "I": "I", "p": "p"} | {variable: f"s_{variable}[i]" for variable in model.state}
        variables = ["V", *model.state]
        slopes = [f"slope{k}" for k in range(len(variables))]
        lines += [f"{', '.join(slopes)} = {call(model.slope, self.slope, known)}"]
        arrays = ["V", *(f"s_{variable}" for variable in model.state)]
        for variable, array, slope in zip(variables, arrays, slopes, strict=True):
            rate = [f"p.{model.decay[variable]}"] if variable in model.decay else []
            rate += self._conductances if variable == "V" else []
            lines += [f"{'v' if variable == 'V' else f'{array}[i]'} = {self._after(f'{array}[i]', slope, rate)}"]
        if self.is_refractory:
            lines += ["v = V[i] if now <= held_until[i] else v"]
        return [*lines, f"above[i] = v >= p.{model.threshold}", f"V[i] = min(v, p.{model.threshold})"]

    @property
    def _conductances(self) -> list[str]:
        return [f"{self.e.variable_of(kind)}[i]" for kind in self.kinds if self.e.conducts(kind)]

    def _after(self, variable: str, slope: str, rate: list[str]) -> str:
        """Write a variable one step later, given its slope and the rate of its linear decay."""
        if self.e.run.integrator == "exponential_euler" and rate:
            return f"exponential_euler({variable}, {slope}, {' + '.join(rate)}, dt)"
        return f"forward_euler({variable}, {slope}, dt)"

    def _current(self, state: dict[str, str], voltage: str) -> str:
        """Write the total current at a membrane potential."""
        pulls = [f"{s}[i] * (reversal_{kind} - {voltage})" if self.e.conducts(kind) else f"{s}[i]"
                 for kind, s in state.items()]
        return " + ".join([*pulls, "drive[i]"])

    def _shadow(self, state: dict[str, str]) -> list[str]:
        """Write one step of the membrane potential that does not spike, from leak and input alone."""
        slope = f"p.leak * (p.E_L - free[i]) + {self._current(state, 'free[i]')}"
        return [f"free[i] = {self._after('free[i]', slope, ['p.leak', *self._conductances])}"]

    def _reset(self) -> list[str]:
        lines = self._constants()
        state = list(self.model.state)
        known = {"V": "neurons.V[i]", "p": "p"} | {v: f"neurons.state[{k}, i]" for k, v in enumerate(state)}
        values = ", ".join(known[variable] for variable in ("V", *state))
        loop = ["i = neurons.fired[k]", *([self._p("i")] if self.is_varied else [])]
        loop += [f"{values} = {call(self.model.reset, self.reset, known)}"]
        if self.is_refractory:
            loop += ["neurons.held_until[i] = n + neurons.refractory[0]"]
        return ["@part", f"def reset_all_{self.population}(n, neurons):", *_indent(lines),
                "    for k in range(neurons.n_fired[0]):", *_indent(_indent(loop))]


def _arrived(projection: str) -> str:
    # a count becomes a number of the state's format first: times a float32, numba would make it a float64
    return f"gain_{projection} * real(n_{projection}[i])"


def _indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
