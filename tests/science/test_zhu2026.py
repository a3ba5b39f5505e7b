"""Short runs of the study of Zhu, Ocker & Rosenbaum (2026), against the paper's figures; the study has long ones."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import analysis.studies.zhu2026
from analysis.studies.zhu2026.claims import FINEST
from analysis.studies.zhu2026.measures import measure
from analysis.studies.zhu2026.paper import ASYNCHRONOUS, CORRELATED, RATES_HZ, VARIANCES
from mpi_engine.experiment import load_experiment
from mpi_engine.output.reader import open_run
from mpi_engine.run.job import run
from orchestration.study import describe

pytestmark = pytest.mark.timeout(1800)

STUDY = Path(analysis.studies.zhu2026.__file__).parent

SIZES, SEEDS = (1000, 4000), (1, 2, 3, 4)

RECORDING = {"run.duration_ms": 2500.0, "recording.statistics.start_ms": 500.0, "recording.statistics.block_ms": 2000.0}

ERRORS_OF_RATES = 3.0


@pytest.mark.parametrize("correlation", [ASYNCHRONOUS, CORRELATED])
def test_variance_and_rates_of_short_runs(correlation: float, tmp_path: Path) -> None:
    tasks = [(synapses, correlation, size, seed, tmp_path)
             for synapses in ("current", "conductance") for size in SIZES for seed in SEEDS]
    with get_context("spawn").Pool(2) as pool:
        measured = dict(zip([task[:4] for task in tasks], pool.starmap(_measured, tasks, chunksize=1),
                            strict=True))
    for synapses in ("current", "conductance"):
        for size, figure, error in zip(SIZES, *VARIANCES[synapses, correlation].at(SIZES), strict=True):
            runs = [measured[synapses, correlation, size, seed] for seed in SEEDS]
            assert error is not None
            _assert_near([found["var_V"] for found in runs], figure, FINEST[correlation] * figure, error)
            if size == 1000:
                for name, rate_hz in RATES_HZ.get((synapses, correlation), {}).items():
                    rounding = FINEST[ASYNCHRONOUS] * rate_hz + 0.1
                    _assert_near([found[f"rate_{name}"] for found in runs], rate_hz, rounding, 0.0, ERRORS_OF_RATES)


def _measured(synapses: str, correlation: float, size: int, seed: int, directory: Path) -> dict[str, float]:
    part = describe(STUDY / "study.toml", "quick")[synapses]
    (sizes,) = part["zip"]
    place = sizes["populations.E.size"].index(round(0.8 * size))
    settings = {key: values[0] for key, values in part["grid"].items()} | {k: v[place] for k, v in sizes.items()}
    settings |= {"inputs.X.correlation": correlation, "seed": seed, **RECORDING}
    experiment = load_experiment(STUDY / f"{synapses}.toml", [f"{key}={value}" for key, value in settings.items()])
    with TemporaryDirectory(dir=directory) as scratch:     # all runs together would fill a disk
        run(experiment, Path(scratch) / "run")
        return measure(open_run(Path(scratch) / "run"))


def _assert_near(values: list[float], figure: float, finest: float, error: float, errors: float = 2.0) -> None:
    """Compare a mean over seeds with a value of the paper: to a finest difference, or to standard errors of both."""
    ours = float(np.std(values, ddof=1)) / len(values) ** 0.5
    allowed = max(finest, errors * float(np.hypot(ours, error)))
    assert abs(np.mean(values) - figure) <= allowed, f"{np.mean(values):.4g} ± {ours:.2g}, figure {figure:.4g}"
