"""Dynamical systems that no experiment of ours mentions, drawn from seeds, as experiments that leave all open."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from analysis.coding import CodingRun
from analysis.orbits import orbit_distance, root_mean_square_error, size_of
from tests.science.coding import write

LEARN_MS, SETTLE_MS, RUN_MS = 240_000.0, 1000.0, 20_000.0


@dataclass(frozen=True)
class System:
    """A system to be learned.

    Parameters
    ----------
    name : str
        Of the system.
    teacher : dict
        Of the experiment.
    starts : tuple of list of float
        Initial states of free runs; empty where these begin from where the teacher stands.
    """

    name: str
    teacher: dict[str, Any]
    starts: tuple[list[float], ...] = ()


def draw_systems(directory: Path) -> list[System]:
    """Draw ten systems; files that they need are written into a directory."""
    return [
        _hopf(directory, 1), _hopf(directory, 2), _van_der_pol(directory, 3), _third_follows(directory, 4),
        _two_wells(directory, 5), *(_damped(directory, 5 + k, k) for k in (1, 2, 3, 4)), _torus(directory, 10),
    ]


def make_experiment(system: System, path: Path) -> str:
    """Write an experiment that learns a system and then runs freely from each of its starts."""
    phases: dict[str, Any] = {"learn": {"does": "learn", "duration_ms": LEARN_MS}}
    for number, state in enumerate(system.starts or (None,)):
        start = {} if state is None else {"state": state}
        phases[f"settle_{number}"] = {"does": "synchronise", "duration_ms": SETTLE_MS / 5, **start}
        phases[f"run_{number}"] = {"does": "run", "duration_ms": RUN_MS}
    return write(path, {
        "kind": "coding",
        "title": system.name,
        "seed": 1,
        "run": {"duration_ms": sum(phase["duration_ms"] for phase in phases.values())},
        "teacher": system.teacher,
        "network": {"size": 50 + 50 * len(system.teacher.get("columns", system.teacher.get("initial_state")))},
        "phases": phases,
        "recording": {"segment_ms": 20_000.0, "state": {"interval_ms": 5.0}},
    })


def deviation(run: CodingRun) -> float:
    """Deviation of free runs from the teacher in units of its size: at the same times if it comes to rest, else of the
    second half's orbit."""
    worst = 0.0
    for stretch in run.stretches("run"):
        n = len(stretch.x) // 2
        at_rest = np.ptp(stretch.x[-n // 2 :], axis=0).max() < 0.02
        if at_rest:
            size = float(np.abs(stretch.x).max())
            worst = max(worst, root_mean_square_error(stretch.xhat[n:], stretch.x[n:]) / size)
        else:
            worst = max(worst, orbit_distance(stretch.xhat[n:], stretch.x) / size_of(stretch.x))
    return worst


def _user(directory: Path, name: str, slopes: list[str], initial_state: list[float]) -> dict[str, Any]:
    head = "from mpi_engine.user import teacher\n\n\n@teacher(parameters={})\ndef flow(x):\n    return "
    (directory / f"{name}.py").write_text(f"{head}{', '.join(slopes)}\n", encoding="utf-8")
    return {"kind": "user", "file": str(directory / f"{name}.py"), "function": "flow", "initial_state": initial_state}


def _draw(seed: int, *ranges: tuple[float, float]) -> list[float]:
    random = np.random.default_rng(seed)
    return [float(random.uniform(*ends)) for ends in ranges]


def _hopf(directory: Path, seed: int) -> System:
    w, a, radius = _draw(seed, (4, 9), (3, 8), (0.7, 3))
    growth = f"{a!r} * (1.0 - (x[0] * x[0] + x[1] * x[1]) / {radius**2!r})"
    slopes = [f"{growth} * x[0] - {w!r} * x[1]", f"{w!r} * x[0] + {growth} * x[1]"]
    return System(f"limit cycle {seed}", _user(directory, f"hopf_{seed}", slopes, [radius, 0.0]))


def _van_der_pol(directory: Path, seed: int) -> System:
    w, b = _draw(seed, (4, 8), (0.5, 2))
    slopes = [f"{w!r} * x[1]", f"{w!r} * ({b!r} * (1.0 - x[0] * x[0]) * x[1] - x[0])"]
    return System("relaxation oscillator", _user(directory, f"relaxation_{seed}", slopes, [2.0, 0.0]))


def _third_follows(directory: Path, seed: int) -> System:
    w, q = _draw(seed, (4, 8), (2, 5))
    growth = "5.0 * (1.0 - x[0] * x[0] - x[1] * x[1])"
    slopes = [f"{growth} * x[0] - {w!r} * x[1]", f"{w!r} * x[0] + {growth} * x[1]", f"{q!r} * (x[0] * x[0] - x[2])"]
    return System("limit cycle in 3 dimensions", _user(directory, f"third_{seed}", slopes, [1.0, 0.0, 0.3]))


def _two_wells(directory: Path, seed: int) -> System:
    a, s = _draw(seed, (2, 6), (0.5, 2))
    teacher = _user(directory, f"wells_{seed}", [f"{a!r} * x[0] * (1.0 - x[0] * x[0] / {s**2!r})"], [0.02 * s])
    return System("two wells", teacher, ([0.3 * s], [-0.3 * s], [1.2 * s], [-1.2 * s]))


def _damped(directory: Path, seed: int, k: int) -> System:
    """A rotation, damped by a random linear and cubic term of each coordinate."""
    random = np.random.default_rng(seed)
    J = random.normal(size=(k, k))
    J = 2.5 * (J - J.T) - np.diag(random.uniform(0.5, 2, k))
    cubic = random.uniform(0.5, 2, k)
    linear = [" + ".join(f"{float(J[i, j])!r} * x[{j}]" for j in range(k)) for i in range(k)]
    slopes = [f"{linear[i]} - {float(cubic[i])!r} * x[{i}] * x[{i}] * x[{i}]" for i in range(k)]
    corners = [[float(sign * size) for sign, size in zip(signs, random.uniform(0.6, 1.0, k), strict=True)]
               for signs in list(product((1, -1), repeat=k))[:2]]
    teacher = _user(directory, f"damped_{k}", slopes, corners[0])
    return System(f"damped in {k} dimensions", teacher, tuple(corners))


def _torus(directory: Path, seed: int) -> System:
    """Two rotations whose frequencies have an irrational ratio, recorded."""
    random = np.random.default_rng(seed)
    t = np.arange(0.0, (LEARN_MS + SETTLE_MS + RUN_MS) * 1e-3 + 1.0, 0.005)
    w, phases = random.uniform(4, 6), random.uniform(0, 2 * np.pi, 2)
    angles = (w * t + phases[0], w * (1 + np.sqrt(5)) / 2 * t + phases[1])
    columns = np.column_stack([f(angle) * r for angle, r in zip(angles, (1.0, 0.6), strict=True)
                               for f in (np.cos, np.sin)])
    path = directory / "torus.csv"
    np.savetxt(path, columns, delimiter=",", header="a,b,c,d", comments="")
    return System("recorded, quasi-periodic", {
        "kind": "recorded", "file": str(path), "columns": ["a", "b", "c", "d"], "interval_ms": 5.0,
    })


