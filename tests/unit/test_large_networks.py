"""The shipped networks of 10^9 and 5 * 10^8 synapses, as far as can be said without running them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.run.footprint import Footprint

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(("name", "n_synapses"), [("million", 1e9), ("hundred-thousand", 5e8)])
def test_a_large_network_fits_two_ranks(name: str, n_synapses: float) -> None:
    e = cast(Experiment, load_experiment(BENCHMARKS / f"{name}.toml"))
    synapses = {p: e.expected_in_degree(p)[0] * e.sizes[e.projections[p].target] for p in e.projections}
    assert sum(synapses.values()) == pytest.approx(n_synapses, rel=1e-3)
    assert sum(synapses[p] for p in e.plastic) >= 0.1 * n_synapses
    footprint = Footprint(e, 2, dict.fromkeys(e.sizes, 20.0))
    assert 2 * sum(footprint.memory().values()) < 12e9
    plastic_bytes = sum(2 * footprint.synapses(p, e.sizes[e.projections[p].target] // 2) for p in e.plastic)
    assert plastic_bytes / sum(synapses[p] for p in e.plastic) < 8
    static_bytes = 2 * footprint.memory()["synapses"] - plastic_bytes
    assert static_bytes / sum(synapses[p] for p in e.projections if p not in e.plastic) < 3
