"""A plain NumPy twin of the step of Akil et al. (2021), with dense matrices: the oracle of the compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, PairCoefficients
from mpi_engine.run.simulation import Simulation

State = dict[str, NDArray[Any]]
Spikes = dict[str, NDArray[np.int64]]


class Twin:
    """Takes over the network of a simulation on one rank, and does one step from a state of it."""

    def __init__(self, simulation: Simulation) -> None:
        self.experiment: Experiment = simulation.experiment
        self.dtype = np.dtype(self.experiment.run.state_dtype)
        self.connected = {}
        for name, p in self.experiment.projections.items():
            mask = np.zeros((self.experiment.sizes[p.target], self.experiment.sizes[p.source]), bool)
            source, target = simulation.drawn[name].ends
            mask[target, source] = True
            self.connected[name] = mask

    def step(self, n: int, state: State, inputs: Spikes) -> tuple[State, Spikes, State]:
        """Return the state after step n, who fired, and the membrane potentials before the reset."""
        e, dt, scalar = self.experiment, self.experiment.run.dt_ms, self.dtype.type
        new = {key: values.copy() for key, values in state.items()}
        # 1 stimulus
        for name, p in e.projections.items():
            if p.source in inputs:
                self._add_charge(new, name, inputs[p.source], state)
        # 2 integrate, 3 find spikes
        fired, potentials = {}, {}
        for name, population in e.populations.items():
            m = e.neurons[population.neuron]
            V = self._integrate(name, n, state, new)
            fired[name] = np.flatnonzero(scalar(m.V_th_mv) <= V)
            potentials[name] = V.copy()
            V[fired[name]] = m.V_reset_mv
            new[f"V/{name}"] = V
            if f"V_free/{name}" in state:
                free = state[f"V_free/{name}"]
                new[f"V_free/{name}"] = self._advance(free, *self._linear(name, n, new))
            if f"w/{name}" in new:
                new[f"w/{name}"][fired[name]] += scalar(m.b_mv_per_ms)
            if m.refractory_ms:
                new[f"waiting/{name}"][fired[name]] = round(m.refractory_ms / dt)
        # 4 deliver with the weights before this step's learning, 5 learn
        everyone = fired | inputs
        for name, p in e.projections.items():
            if p.source in fired:
                self._add_charge(new, name, fired[p.source], state)
        for name, p in e.plastic.items():
            self._learn(new, name, everyone[p.source], fired[p.target])
        # 6 traces jump, 7 everything decays
        for name, p in e.plastic.items():
            for trace, tau in e.plasticity[p.plasticity].traces.items():
                x = new[f"{trace}/{name}/{p.plasticity}"]
                np.add.at(x, everyone[p.source] if trace.endswith("_pre") else fired[p.target], scalar(1))
                new[f"{trace}/{name}/{p.plasticity}"] = x * scalar(self.decay(tau))
        for name in e.populations:
            for kind in e.synapses_of(name):
                new[f"I/{name}/{kind}"] = new[f"I/{name}/{kind}"] * scalar(self.decay(e.synapses[kind].tau_ms))
        return new, fired, potentials

    def decay(self, tau_ms: float) -> float:
        x = self.experiment.run.dt_ms / tau_ms
        return 1 - x if self.experiment.run.integrator == "forward_euler" else np.exp(-x)

    def _integrate(self, name: str, n: int, state: State, new: State) -> NDArray[Any]:
        """Membrane potential after a step: dV/dt = b - g V."""
        e, scalar = self.experiment, self.dtype.type
        m = e.neurons[e.populations[name].neuron]
        V = state[f"V/{name}"]
        spike = scalar(0)
        if m.model != "lif":
            given = m.spike_current_mv_per_ms
            factor = scalar(m.Delta_T_mv / m.tau_m_ms if given is None else given)
            spike = factor * np.exp((V - scalar(m.V_T_mv)) / scalar(m.Delta_T_mv))
        g, b = self._linear(name, n, new, spike)
        if m.model == "adex":
            w, rate = state[f"w/{name}"], scalar(1 / m.tau_w_ms)
            b = b - w
            new[f"w/{name}"] = self._advance(w, rate, rate * scalar(m.a_per_ms) * (V - scalar(m.E_L_mv)))
        after = self._advance(V, g, b)
        if m.refractory_ms:
            waiting = state[f"waiting/{name}"]
            after[waiting > 0] = m.V_reset_mv
            new[f"waiting/{name}"] = np.maximum(waiting - 1, 0)
        return after

    def _linear(self, name: str, n: int, new: State, spike: Any = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        """Total conductance g, and current b at V = 0, of leak, synapses, injected and spike current."""
        e, scalar = self.experiment, self.dtype.type
        m = e.neurons[e.populations[name].neuron]
        g = np.full(e.populations[name].size, 1 / m.tau_m_ms, self.dtype)
        b = g * scalar(m.E_L_mv) + self._drive(name, n) + spike
        for kind in e.synapses_of(name):
            reversal = getattr(e.synapses[kind], "reversal_mv", None)
            if reversal is None:
                b = b + new[f"I/{name}/{kind}"]
            else:
                g = g + new[f"I/{name}/{kind}"]
                b = b + new[f"I/{name}/{kind}"] * scalar(reversal)
        return g, b

    def _advance(self, V: NDArray[Any], g: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        dt = self.dtype.type(self.experiment.run.dt_ms)
        if self.experiment.run.integrator == "forward_euler":
            return V + dt * (b - g * V)
        return V + (1 - np.exp(-dt * g)) / g * (b - g * V)

    def weights(self, state: State, name: str) -> NDArray[Any]:
        """Dense weights of a projection, target by source."""
        p = self.experiment.projections[name]
        mask = self.connected[name]
        if p.plasticity is None:
            return np.where(mask, self.experiment.initial_weight(name), 0.0)
        dense = np.zeros(mask.shape, state[f"weights/{name}"].dtype)
        dense[state[f"post/{name}"], state[f"pre/{name}"]] = state[f"weights/{name}"]
        return dense

    def _add_charge(self, new: State, name: str, spikes: NDArray[np.int64], state: State) -> None:
        p = self.experiment.projections[name]
        charge = self.weights(state, name)[:, spikes].sum(axis=1)
        tau = self.experiment.synapses[p.synapse].tau_ms
        new[f"I/{p.target}/{p.synapse}"] += (charge / tau).astype(self.dtype)

    def _drive(self, name: str, n: int) -> NDArray[Any]:
        drive = np.zeros(self.experiment.populations[name].size, self.dtype)
        t = n * self.experiment.run.dt_ms
        for c in self.experiment.currents.values():
            if c.target == name and c.start_ms < t - 1e-9 and (c.stop_ms is None or t < c.stop_ms + 1e-9):
                last = None if c.count is None else c.first + c.count
                drive[c.first : last] += self.dtype.type(c.amplitude_mv_per_ms)
        return drive

    def _learn(self, new: State, name: str, pre: NDArray[np.int64], post: NDArray[np.int64]) -> None:
        e, p = self.experiment, self.experiment.projections[name]
        c: PairCoefficients = e.plasticity[p.plasticity].coefficients(e.weight_scale(name), e.weight_unit(name))
        w, mask = self.weights(new, name), self.connected[name]
        x_pre, x_post = (new[f"x_{side}/{name}/{p.plasticity}"] for side in ("pre", "post"))
        for k in pre:
            old = w[:, k]
            change = (c.a_pre[0] + c.a_pre[1] * old) + (c.b_pre[0] + c.b_pre[1] * old) * x_post
            w[:, k] = np.where(mask[:, k] & (old > c.w_min), old + change, old)
        for j in post:
            old = w[j]
            change = (c.a_post[0] + c.a_post[1] * old) + (c.b_post[0] + c.b_post[1] * old) * x_pre
            w[j] = np.where(mask[j] & (old > c.w_min) & (old < c.w_max), old + change, old)
        new[f"weights/{name}"] = w[new[f"post/{name}"], new[f"pre/{name}"]]
