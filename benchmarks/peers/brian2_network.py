"""Compile a workload with Brian2's C++ standalone device: ``brian2_network.py description.json directory``.

``main`` in the directory then simulates it, on one thread, and leaves ``results/measured.txt``: seconds of building,
wall and processor time [s] of the simulation, synapses, spikes, and peak memory [kB]. Plasticity is event-driven, and
a fixed weight is one number a projection. Spikes of all neurons are recorded.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import brian2 as b2
from brian2.devices.device import device

from benchmarks.peers.trains import make_trains

Table = dict[str, Any]


class Network:
    """A workload as Brian2's objects; numbers are in mV and ms."""

    def __init__(self, description: Table) -> None:
        self.description = description
        b2.defaultclock.dt = description["dt_ms"] * b2.ms
        self.populations = {name: self._population(name) for name in description["populations"]}
        self.inputs = {name: self._input(name) for name in description["inputs"]}
        self.synapses = [self._projection(name) for name in description["projections"]]
        self.monitors = [b2.SpikeMonitor(group) for group in self.populations.values()]
        groups = [*self.populations.values(), *self.inputs.values()]
        self.whole = b2.Network(*groups, *self.synapses, *self.monitors)

    def _population(self, name: str) -> b2.NeuronGroup:
        p = self.description["populations"][name]
        projections = self.description["projections"].values()
        taus = {projection["tau_ms"] for projection in projections if projection["target"] == name}
        slope = " + ".join(["(E_L - V) / tau_m", "drive", *(_current(tau) for tau in taus)])
        if p["model"] == "eif":
            slope += " + Delta_T / tau_m * exp((V - V_T) / Delta_T)"
        hold = " (unless refractory)" if p["refractory_ms"] else ""
        equations = [f"dV/dt = ({slope}) / ms : 1{hold}"]
        equations += [f"d{_current(tau)}/dt = -{_current(tau)} / ({tau} * ms) : 1" for tau in taus]
        group = b2.NeuronGroup(
            p["size"], "\n".join(equations), threshold="V >= V_th", reset="V = V_reset", method="euler",
            refractory=p["refractory_ms"] * b2.ms if p["refractory_ms"] else False, namespace=p["parameters"],
        )
        low, high = p["V_init_mv"]
        group.V = f"{low} + rand() * ({high - low})"
        return group

    def _input(self, name: str) -> b2.PoissonGroup | b2.SpikeGeneratorGroup:
        source = self.description["inputs"][name]
        if source["correlation"] == 0:
            return b2.PoissonGroup(source["size"], source["rate_hz"] * b2.Hz)
        times_ms, ids = make_trains(source, self.description)
        return b2.SpikeGeneratorGroup(source["size"], ids, times_ms * b2.ms)

    def _projection(self, name: str) -> b2.Synapses:
        p, tau_ms = self.description["projections"][name], self.description["projections"][name]["tau_ms"]
        source, target = (self.populations | self.inputs)[p["source"]], self.populations[p["target"]]
        current = f"{_current(tau_ms)}_post"
        rule = p["plasticity"]
        if rule is None:
            jump = {"jump": p["weight_mv"] / tau_ms}
            synapses = b2.Synapses(source, target, on_pre=f"{current} += jump", namespace=jump)
            synapses.connect(p=p["probability"])
            return synapses
        on_pre = f"{current} += w * {1 / tau_ms}; w = {_change(rule, 'pre', 'post_trace')}; pre_trace += 1"
        on_post = f"w = {_change(rule, 'post', 'pre_trace')}; post_trace += 1"
        traces = ("pre_trace", rule["tau_pre_ms"]), ("post_trace", rule["tau_post_ms"])
        model = ["w : 1", *(f"d{trace}/dt = -{trace} / ({tau_ms} * ms) : 1 (event-driven)" for trace, tau_ms in traces)]
        synapses = b2.Synapses(source, target, "\n".join(model), on_pre=on_pre, on_post=on_post)
        synapses.connect(p=p["probability"])
        synapses.w = p["weight_mv"]
        return synapses

    def measure(self) -> None:
        """Let the compiled program note what it takes."""
        spikes, synapses = (" + ".join(map(_count, parts)) for parts in (self.monitors, self.synapses))
        now = "std::chrono::steady_clock::now()"
        seconds = "std::chrono::duration<double>({} - {}).count()"
        device.insert_code("before_start", f"auto begun = {now};")
        device.insert_code("before_network_run", f"auto built = {now}; clock_t cpu = clock();")
        device.insert_code("after_network_run", f"""
            auto ended = {now};
            std::ofstream measured("results/measured.txt");
            measured << {seconds.format("built", "begun")} << " " << {seconds.format("ended", "built")} << " "
                     << double(clock() - cpu) / CLOCKS_PER_SEC << " " << {synapses} << " " << {spikes};
            std::ifstream status("/proc/self/status");
            std::string word;
            while (status >> word && word != "VmHWM:") {{}}
            status >> word;
            measured << " " << word;
        """)


def _current(tau_ms: float) -> str:
    return f"s_{tau_ms:g}".replace(".", "_")


def _count(part: b2.SpikeMonitor | b2.Synapses) -> str:
    return f"{device.get_array_name(part.variables['N'], access_data=False)}[0]"


def _change(rule: Table, side: str, trace: str) -> str:
    """Write the weight after a spike of a side, the terms that are zero left out."""
    (a0, a1), (b0, b1) = rule[f"a_{side}"], rule[f"b_{side}"]
    terms = [term for number, term in ((a0, f"{a0}"), (a1, f"{a1} * w"), (b0, f"{b0} * {trace}"),
                                       (b1, f"{b1} * w * {trace}")) if number]
    changed = " + ".join(["w", *terms])
    bounds = rule["w_min"], rule["w_max"]
    return changed if float("inf") in bounds else f"clip({changed}, {bounds[0]}, {bounds[1]})"


def main() -> None:
    """Compile."""
    description = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    b2.prefs["codegen.cpp.headers"] += ["<chrono>"]
    b2.prefs["devices.cpp_standalone.extra_make_args_unix"] = [f"-j{len(os.sched_getaffinity(0))}"]
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.seed(description["seed"])
    network = Network(description)
    network.measure()
    network.whole.run(description["duration_ms"] * b2.ms)
    device.build(directory=sys.argv[2], run=False, with_output=False)


if __name__ == "__main__":
    main()
