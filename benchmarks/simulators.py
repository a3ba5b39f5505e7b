"""The simulators: what it takes each of them to simulate a workload."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads import Workload
from mpi_engine.output.reader import open_run
from mpi_engine.run.simulation import Simulation
from orchestration.engine import engine_environment
from orchestration.launcher import Launch

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Result:
    """What a simulation took.

    Parameters
    ----------
    simulator, workload : str
        Who, and what.
    ranks : int
        Processes, of one thread each.
    wall_s_per_bio_s, cpu_s_per_bio_s : float
        Wall time and processor time of all processes for the steps, a biological second; neither building, compiling
        nor writing to disk.
    build_s : float
        Wall time of building the network; no compilation.
    synapses : int
        How many.
    peak_mb : float
        Most memory that was resident, of all processes [10^6 bytes].
    rate_hz : float
        Spikes a neuron and second.
    """

    simulator: str
    workload: str
    ranks: int
    wall_s_per_bio_s: float
    cpu_s_per_bio_s: float
    build_s: float
    synapses: int
    peak_mb: float
    rate_hz: float

    def line(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps({key: round(value, 5) if isinstance(value, float) else value
                           for key, value in asdict(self).items()})


def median(results: Sequence[Result]) -> Result:
    """Take the median of each number over repetitions."""
    first = asdict(results[0])
    numbers = {key: statistics.median(getattr(result, key) for result in results)
               for key, value in first.items() if isinstance(value, float)}
    return Result(**first | numbers)


class Simulator(ABC):
    """Something that simulates a workload, as often as is wished.

    Parameters
    ----------
    workload : Workload
        What is simulated.
    directory : Path
        Where files may be written; it is empty.
    """

    name: str
    ranks = 1

    def __init__(self, workload: Workload, directory: Path) -> None:
        self.workload, self.directory = workload, directory

    @abstractmethod
    def simulate(self) -> Result:
        """Simulate it once more."""

    @abstractmethod
    def bytes_per_synapse(self) -> float:
        """Memory that the synapses take, all that belongs to them counted."""

    def _result(self, build_s: float, wall_s: float, cpu_s: float, synapses: float, spikes: float,
                peak_mb: float) -> Result:
        duration_s = self.workload.duration_s
        return Result(self.name, self.workload.name, self.ranks, wall_s / duration_s, cpu_s / duration_s, build_s,
                      int(synapses), peak_mb, spikes / (self.workload.n_neurons * duration_s))


class Steelyard(Simulator):
    """The simulator of this checkout, started as its command does; see `Simulator`.

    Parameters
    ----------
    ranks : int
        Number of ranks.
    **others
        See `Simulator`.

    Attributes
    ----------
    rates_hz : dict of str to float
        Rates of populations and inputs in the last simulation [Hz].
    """

    name = "steelyard"
    rates_hz: dict[str, float]

    def __init__(self, workload: Workload, directory: Path, ranks: int) -> None:
        super().__init__(workload, directory)
        self.ranks, self._runs = ranks, 0

    def simulate(self) -> Result:
        """Run it into a new directory, and read there what it took."""
        self._runs += 1
        directory = self.directory / f"{self.ranks}-{self._runs}"
        launch = Launch(self.workload.file, directory, self.ranks, tuple(self.workload.overrides))
        _run(launch.command(), engine_environment(self.ranks))
        run, split = open_run(directory), open_run(directory).time_split()
        experiment = self.workload.experiment
        spikes = {name: run.spikes(name).ids.size for name in experiment.populations}
        inputs = {name: train["rate_hz"] for name, train in self.workload.description()["inputs"].items()}
        duration_s = self.workload.duration_s
        self.rates_hz = inputs | {name: n / experiment.sizes[name] / duration_s for name, n in spikes.items()}
        synapses = sum(int(run.degrees(name).in_degree.sum()) for name in experiment.projections)
        wall_s = run.provenance["timings_s"]["run"]
        cpu_s, peak_mb = float(split.cpu_s.sum()), float(split.peak_memory_mb.sum())
        return self._result(split.build_s, wall_s, cpu_s, synapses, sum(spikes.values()), peak_mb)

    def bytes_per_synapse(self) -> float:
        """Size of all arrays that a network without synapses would not have, each counted once."""
        simulation = Simulation(self.workload.experiment)
        parts = (simulation.projections, simulation.drawn, simulation.histories, simulation.pre, simulation.post)
        owners = {id(array): array for array in map(_owner, _arrays(parts))}
        return sum(array.nbytes for array in owners.values()) / simulation.n_synapses


class Peer(Simulator):
    """Another simulator, in an environment of its own; see `Simulator`."""

    environment: str

    @classmethod
    def python(cls) -> Path:
        """Where its interpreter is."""
        return CHECKOUT / cls.environment / "bin" / "python"

    @classmethod
    def can(cls, workload: Workload) -> bool:
        """Whether it has the models of a workload."""
        return True

    def _run_script(self, output: Path) -> None:
        """Run its script on the workload's description."""
        description = self.directory / "description.json"
        description.write_text(self._description(), encoding="utf-8")
        settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
        script = f"benchmarks.peers.{self.name}_network"
        _run([str(self.python()), "-m", script, str(description), str(output)], os.environ | settings)

    def _description(self) -> str:
        return json.dumps(self.workload.description())


class Brian2(Peer):
    """Brian2's C++ standalone device, compiled once and kept under ``build``; see `Simulator`."""

    name, environment = "brian2", ".venv-peers"

    def __init__(self, workload: Workload, directory: Path) -> None:
        super().__init__(workload, directory)
        scripts = sorted((Path(__file__).parent / "peers").glob("*.py"))
        texts = [self._description().encode(), *(script.read_bytes() for script in scripts)]
        key = hashlib.sha256(b"".join(texts)).hexdigest()[:16]
        self._code = CHECKOUT / "build" / "brian2" / key
        if not (self._code / "main").exists():
            self._run_script(self._code)

    def simulate(self) -> Result:
        """Run the compiled program."""
        _run(["./main"], dict(os.environ), self._code)
        measured = _numbers(self._code / "results" / "measured.txt")
        build_s, wall_s, cpu_s, synapses, spikes, peak_kb = measured
        self._peak_bytes = peak_kb * 1024 / synapses
        return self._result(build_s, wall_s, cpu_s, synapses, spikes, peak_kb * 1024e-6)

    def bytes_per_synapse(self) -> float:
        """Memory of the whole program, which is hardly anything without synapses."""
        return self._peak_bytes


class Nest(Peer):
    """NEST; see `Simulator`."""

    name, environment = "nest", ".venv-nest"

    @classmethod
    def can(cls, workload: Workload) -> bool:
        """Whether it has the models: no spike current with several time constants, and additive rules only."""
        network = workload.description()
        leaky = all(p["model"] == "lif" for p in network["populations"].values())
        rules = [p["plasticity"] for p in network["projections"].values() if p["plasticity"]]
        return leaky and all(rule["a_pre"] == rule["a_post"] == (0.0, 0.0) and rule["b_pre"][1] == 0.0
                             for rule in rules)

    def simulate(self) -> Result:
        """Build and simulate it in a new process."""
        self._run_script(self.directory / "measured.txt")
        measured = _numbers(self.directory / "measured.txt")
        build_s, wall_s, cpu_s, synapses, spikes, peak_kb, built_kb = measured
        self._built_bytes = built_kb * 1024 / synapses
        return self._result(build_s, wall_s, cpu_s, synapses, spikes, peak_kb * 1024e-6)

    def bytes_per_synapse(self) -> float:
        """Memory that was added while the network was built."""
        return self._built_bytes


PEERS: dict[str, type[Peer]] = {"brian2": Brian2, "nest": Nest}


def _run(command: list[str], environment: dict[str, str], directory: Path | None = None) -> None:
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def _numbers(path: Path) -> list[float]:
    return [float(number) for number in path.read_text(encoding="utf-8").split()]


def _arrays(part: Any) -> Iterator[NDArray[Any]]:
    """Find all arrays in a part of a network, however deep."""
    if isinstance(part, np.ndarray):
        yield part
    elif is_dataclass(part):
        yield from _arrays(vars(part))
    elif isinstance(part, dict | list | tuple):
        for within in part.values() if isinstance(part, dict) else part:
            yield from _arrays(within)


def _owner(array: NDArray[Any]) -> NDArray[Any]:
    """Find the array whose memory this one is a part of."""
    return array if not isinstance(array.base, np.ndarray) else _owner(array.base)
