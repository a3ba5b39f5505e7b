"""Simulate a workload with NEST on one thread: ``nest_network.py description.json measured.txt``.

Writes seconds of building, wall and processor time [s] of the simulation, synapses, spikes, peak memory [kB], and the
memory [kB] that building took. Fixed weights are one number a projection; spikes of all neurons are recorded.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import nest

Table = dict[str, Any]


class Network:
    """A workload as NEST's objects: capacitances are 1 pF, so that currents in pA are in mV/ms."""

    def __init__(self, description: Table) -> None:
        self.description = description
        nest.set_verbosity("M_ERROR")
        nest.resolution, nest.rng_seed = description["dt_ms"], description["seed"]
        nest.overwrite_files, nest.local_num_threads = True, 1
        self.populations = {name: self._population(name) for name in description["populations"]}
        for name in description["projections"]:
            self._project(name)
        self.recorder = nest.Create("spike_recorder")
        for population in self.populations.values():
            nest.Connect(population, self.recorder)
        nest.Prepare()

    def _population(self, name: str) -> nest.NodeCollection:
        d = self.description
        p, parameters = d["populations"][name], d["populations"][name]["parameters"]
        onto = [projection for projection in d["projections"].values() if projection["target"] == name]
        tau_ex, tau_in = ([q["tau_ms"] for q in onto if (q["weight_mv"] > 0) == excites] for excites in (True, False))
        rules = [q["plasticity"] for q in onto if q["plasticity"]]
        low, high = p["V_init_mv"]
        return nest.Create("iaf_psc_exp", p["size"], {
            "C_m": 1.0, "tau_m": parameters["tau_m"], "E_L": parameters["E_L"], "V_th": parameters["V_th"],
            "V_reset": parameters["V_reset"], "t_ref": p["refractory_ms"], "I_e": parameters["drive"],
            "tau_syn_ex": tau_ex[0], "tau_syn_in": tau_in[0], "V_m": nest.random.uniform(low, high),
            **({"tau_minus": rules[0]["tau_post_ms"]} if rules else {}),
        })

    def _project(self, name: str) -> None:
        p, rule = self.description["projections"][name], self.description["projections"][name]["plasticity"]
        weight = p["weight_mv"] / p["tau_ms"]
        how = {"synapse_model": name, "delay": self.description["dt_ms"]}
        if rule is None:
            nest.CopyModel("static_synapse_hom_w", name, {"weight": weight})
        else:
            largest = rule["w_max"] / p["tau_ms"]
            nest.CopyModel("stdp_synapse_hom", name, {
                "tau_plus": rule["tau_pre_ms"], "Wmax": largest, "mu_plus": 0.0, "mu_minus": 0.0,
                "lambda": rule["b_post"][0] / rule["w_max"], "alpha": -rule["b_pre"][0] / rule["b_post"][0],
            })
            how["weight"] = weight
        ends = self.populations[p["source"]], self.populations[p["target"]]
        nest.Connect(*ends, {"rule": "pairwise_bernoulli", "p": p["probability"]}, how)


def memory_kb(line: str) -> int:
    """Read a line of what Linux tells of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{line}:")[2].split()[0])


def main() -> None:
    """Simulate."""
    description = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    before_kb, begun = memory_kb("VmRSS"), time.perf_counter()
    network = Network(description)
    built_kb, built, cpu = memory_kb("VmRSS"), time.perf_counter(), time.process_time()
    nest.Run(description["duration_ms"])
    wall_s, cpu_s = time.perf_counter() - built, time.process_time() - cpu
    nest.Cleanup()
    neurons = sum(p["size"] for p in description["populations"].values())
    measured = [built - begun, wall_s, cpu_s, nest.num_connections - neurons, network.recorder.n_events]
    measured += [memory_kb("VmHWM"), built_kb - before_kb]
    Path(sys.argv[2]).write_text(" ".join(map(str, measured)), encoding="utf-8")


if __name__ == "__main__":
    main()
