"""Simulate an experiment with Brian2, in an interpreter of its own: ``brian2_network.py task.json result.npz``.

The task is ``{"experiment": table, "seed": int, "copies": int}``: Brian2 simulates as many independent copies side by
side in its groups, with synapses and input spikes that it draws for each. With ``"given": path``, it simulates one
network with the synapses (``source/`` and ``target/<projection>``) and input spikes (``steps/`` and ``ids/<input>``) of
that npz. The result has ``steps/`` and ``ids/<population>`` of the spikes, ids counting on from copy to copy, and of a
given network ``V/<population>`` [T, n] after each step and before the reset.

The scheme is forward Euler in both simulators. Where their steps differ, this module makes up for it:

- A recurrent spike acts on V in the next step in both. In ours it has decayed once by then; Brian2 delivers after the
  decay, and so the weight is multiplied with 1 - dt/tau here.
- An input spike acts on V in its own step, before any decay, in ours. Here inputs and their synapses come before the
  neurons in a step.
- The refractory time begins when the step of the spike ends in ours, and when that step begins in Brian2: it is one
  step longer here.
- A source fires at most once in a step in Brian2. The counts of a drawn input have the same mean as Poisson counts,
  and a variance that is smaller by rate * dt (0.1 % at 10 Hz); in a given input, every spike is a source of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np
from numpy.typing import NDArray

Table = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

MODELS = {
    "lif": ("(E_L_mv - V) / tau_m_ms", ""),
    "eif": ("(E_L_mv - V) / tau_m_ms + Delta_T_mv / tau_m_ms * exp((V - V_T_mv) / Delta_T_mv)", ""),
    "adex": (
        "(E_L_mv - V) / tau_m_ms + Delta_T_mv / tau_m_ms * exp((V - V_T_mv) / Delta_T_mv) - w",
        "dw/dt = (a_per_ms * (V - E_L_mv) - w) / (tau_w_ms * ms) : 1",
    ),
}
"""Slope of V [mV/ms] without synapses, and further equations."""


class Network:
    """The experiment as Brian2's objects; numbers are in mV and ms, as in the experiment."""

    def __init__(self, experiment: Table, copies: int, given: Arrays | None) -> None:
        self.experiment, self.copies, self.given = experiment, copies, given
        self.dt_ms = experiment["run"]["dt_ms"]
        b2.defaultclock.dt = self.dt_ms * b2.ms
        self.populations = {name: self._population(name) for name in experiment["populations"]}
        self.inputs = {name: self._input(name) for name in experiment["inputs"]}
        self.synapses = [self._projection(name) for name in experiment["projections"]]
        self.spikes = {name: b2.SpikeMonitor(group) for name, group in self.populations.items()}
        self.traces = {
            name: b2.StateMonitor(group, "V", record=True, when="after_thresholds")
            for name, group in (self.populations.items() if given else ())
        }
        parts = [self.populations, self.inputs, self.spikes, self.traces]
        self.whole = b2.Network(*self.synapses, *(part for group in parts for part in group.values()))

    def run(self) -> Arrays:
        """Simulate all and return what was recorded."""
        self.whole.run(self.experiment["run"]["duration_ms"] * b2.ms)
        result = {}
        for name, monitor in self.spikes.items():
            # the step that begins at t is the first that has ended at t + dt
            result[f"steps/{name}"] = np.rint(np.asarray(monitor.t / b2.ms) / self.dt_ms).astype(np.int64) + 1
            result[f"ids/{name}"] = np.asarray(monitor.i, np.int64)
        return result | {f"V/{name}": np.asarray(monitor.V).T for name, monitor in self.traces.items()}

    def _population(self, name: str) -> b2.NeuronGroup:
        description = self.experiment["populations"][name]
        neuron = self.experiment["neurons"][description["neuron"]]
        slope, more = MODELS[neuron["model"]]
        parameters = {key: value for key, value in neuron.items() if isinstance(value, float)}
        equations = [more] if more else []
        projections = self.experiment["projections"].values()
        for kind in {p["synapse"]: None for p in projections if p["target"] == name}:
            synapse = self.experiment["synapses"][kind]
            equations.append(f"ds_{kind}/dt = -s_{kind} / (tau_{kind} * ms) : 1")
            parameters[f"tau_{kind}"] = synapse["tau_ms"]
            if synapse["kind"] == "exponential_conductance":
                slope += f" + s_{kind} * (reversal_{kind} - V)"
                parameters[f"reversal_{kind}"] = synapse["reversal_mv"]
            else:
                slope += f" + s_{kind}"
        refractory = neuron.get("refractory_ms", 0.0)
        hold = " (unless refractory)" if refractory else ""
        group = b2.NeuronGroup(
            description["size"] * self.copies,
            "\n".join([f"dV/dt = ({slope}) / ms : 1{hold}", *equations]),
            threshold="V >= V_th_mv",
            reset="V = V_reset_mv" + ("; w += b_mv_per_ms" if neuron["model"] == "adex" else ""),
            refractory=(refractory + self.dt_ms) * b2.ms if refractory else False,
            method="euler",
            namespace=parameters,
        )
        initial = neuron["V_init_mv"]
        low, high = initial["uniform"] if isinstance(initial, dict) else (initial, initial)
        group.V = f"{low} + rand() * ({high} - {low})"
        return group

    def _input(self, name: str) -> b2.SpikeGeneratorGroup | b2.PoissonGroup:
        description = self.experiment["inputs"][name]
        if self.given:
            steps = self.given[f"steps/{name}"]
            times = (steps - 1) * self.dt_ms * b2.ms
            return b2.SpikeGeneratorGroup(steps.size, np.arange(steps.size), times, when="start", order=-1)
        return b2.PoissonGroup(description["size"] * self.copies, description["rate_hz"] * b2.Hz)

    def _projection(self, name: str) -> b2.Synapses:
        p = self.experiment["projections"][name]
        tau_ms = self.experiment["synapses"][p["synapse"]]["tau_ms"]
        jump = p.get("weight_mv", p.get("weight")) / tau_ms
        steps = round(p["delay_ms"] / self.dt_ms) if "delay_ms" in p else None
        recurrent = p["source"] in self.populations
        if recurrent:
            jump *= 1 - self.dt_ms / tau_ms
            delay = 0 if steps is None else steps - 1
        else:
            delay = steps or 0
        synapses = b2.Synapses(
            self.populations[p["source"]] if recurrent else self.inputs[p["source"]],
            self.populations[p["target"]],
            on_pre=f"s_{p['synapse']}_post += jump",
            delay=delay * self.dt_ms * b2.ms,
            namespace={"jump": jump},
        )
        if not recurrent:
            synapses.pre.when, synapses.pre.order = "start", 1
        if self.given:
            source, target = self._given_synapses(name, recurrent)
            synapses.connect(i=source, j=target)
        else:
            n_source = self.experiment["populations" if recurrent else "inputs"][p["source"]]["size"]
            n_target = self.experiment["populations"][p["target"]]["size"]
            first = f"(i // {n_source}) * {n_target}"
            synapses.connect(j=f"k for k in sample({first}, {first} + {n_target}, p={p['probability']})")
        return synapses

    def _given_synapses(self, name: str, recurrent: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        source, target = self.given[f"source/{name}"], self.given[f"target/{name}"]
        if recurrent:
            return source, target
        fired = self.given[f"ids/{self.experiment['projections'][name]['source']}"]
        spike, synapse = np.nonzero(fired[:, None] == source)
        return spike, target[synapse]


def main() -> None:
    """Simulate the task."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    b2.prefs.codegen.target = "numpy"     # needs no compiler, and copies side by side make up for its slowness
    b2.seed(task["seed"])
    given = dict(np.load(task["given"])) if "given" in task else None
    np.savez(sys.argv[2], **Network(task["experiment"], task.get("copies", 1), given).run())


if __name__ == "__main__":
    main()
