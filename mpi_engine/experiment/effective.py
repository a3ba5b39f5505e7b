"""The effective-time-constant model of an experiment, and the means of a finished run that it is made of."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from mpi_engine.experiment.base import Part, steps
from mpi_engine.experiment.data import DataError
from mpi_engine.experiment.inputs import Digest


class EffectiveTimeConstant(Part):
    r"""Conductances become currents, with the mean V and total conductance of a finished run.

    .. math::
        \tau_a = 1/\bar g_a, \qquad E_{L,a} = \bar V_a, \qquad J_{ab} = w_{ab}\,(E_{rev,b} - \bar V_a)

    for a population a and its synapses from b (Zhu, Ocker & Rosenbaum 2026). The spike current stays as it is.

    Parameters
    ----------
    run : str
        A finished run of the same network with conductances: its directory or its file, relative to the experiment's.
    start_ms : float
        Means are taken from here to the end of the run [ms].
    run_hash : str, optional
        Hash of the run's experiment; filled in.
    V_mv, g_per_ms : dict, optional
        Mean membrane potential [mV] and total conductance, leak included [1/ms], by population; filled in. An
        experiment that has them is the model already.
    """

    run: str
    start_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    run_hash: Digest | None = None
    V_mv: dict[str, FiniteFloat] | None = None
    g_per_ms: dict[str, Annotated[PositiveFloat, FiniteFloat]] | None = None

    @model_validator(mode="after")
    def _is_filled_in_whole(self) -> Self:
        filled = [part is not None for part in (self.run_hash, self.V_mv, self.g_per_ms)]
        if any(filled) and not (all(filled) and self.V_mv.keys() == self.g_per_ms.keys()):  # type: ignore[union-attr]
            raise ValueError("run_hash, V_mv and g_per_ms are filled in together; leave all out, and they are read")
        return self

    @property
    def is_applied(self) -> bool:
        """Whether the experiment is the model already."""
        return self.V_mv is not None

    def read(self, directory: Path, sizes: Mapping[str, int]) -> Self:
        """Read the means from the run.

        Parameters
        ----------
        directory : Path
            What a relative path is relative to.
        sizes : mapping of str to int
            The populations to read of, and how many neurons each must have.

        Returns
        -------
        EffectiveTimeConstant
            With an absolute path, and all filled in.

        Raises
        ------
        DataError
            If there is no run, it has not finished, or it is not one of this network with conductances.
        """
        import h5py  # noqa: PLC0415  (after MPI: h5py must find the MPI library loaded)

        path = _absolute(directory, self.run)
        try:
            with h5py.File(_file(path), "r") as file:
                run_hash = file["provenance/hash"][()].decode()
                there = tomllib.loads(file["provenance/experiment"][()].decode())
                done = int(file.attrs["first_step"]), int(file.attrs["last_step"])
                if done != (0, steps(there["run"]["duration_ms"], there["run"]["dt_ms"])):
                    raise DataError(f"{path} is not the whole of a finished run; name its run.h5", "run")
                _check_sizes({name: entry["size"] for name, entry in there["populations"].items()}, sizes)
                means = {name: self._means(file, name) for name in sizes}
        except KeyError:
            raise DataError(f"{path} is not the file of a run; name a run directory or its run.h5", "run") from None
        except (OSError, RuntimeError):
            raise DataError(f"{path} cannot be read as HDF5; name a run directory or its run.h5", "run") from None
        V, g = ({name: values[k] for name, values in means.items()} for k in range(2))
        return self.model_copy(update={"run": str(path), "run_hash": run_hash, "V_mv": V, "g_per_ms": g})

    def _means(self, file: Any, population: str) -> tuple[float, float]:
        """Average V and total conductance over neurons and time, from rates or else from statistics."""
        group = file.get(f"statistics/rates/{population}") or file.get(f"statistics/{population}")
        if group is None or "mean/V" not in group:
            remedy = "add recording.rates to its experiment and run it again"
            raise DataError(f"the run recorded neither rates nor statistics of {population}; {remedy}", "run")
        if "mean/g_total" not in group:
            raise DataError(f"{population} has no conductances in the run; name a run of the same network", "run")
        V, g = group["mean/V"][:], group["mean/g_total"][:]
        if "bin_ms" in group.attrs:
            width_ms = float(group.attrs["bin_ms"])
            begins_ms = float(group.attrs["start_ms"]) + width_ms * np.arange(len(V))
        else:
            width_ms, begins_ms = float(group.attrs["block_ms"]), group["start_ms"][:]
        late = begins_ms >= self.start_ms - 1e-9 * width_ms
        if not late.any():
            last = f"the last mean in the run begins at {begins_ms[-1]:g} ms" if len(V) else "the run has no mean"
            raise DataError(f"{last}; lower it, or run the network longer", "start_ms")
        return float(V[late].mean()), float(g[late].mean())


def _absolute(directory: Path, run: str) -> Path:
    try:
        return (directory / run).resolve()
    except (OSError, ValueError, RuntimeError):
        raise DataError("is not a path; name a run directory or its run.h5", "run") from None


def _file(path: Path) -> Path:
    """Find the one file of a finished run."""
    if not path.exists():
        raise DataError(f"there is no run {path}; check the path, or run the network with conductances first", "run")
    if not path.is_dir():
        return path
    if (path / "run.h5").exists():
        return path / "run.h5"
    if (path / "experiment.toml").exists():
        raise DataError(f"the run in {path} has not finished; wait for it, or run it again", "run")
    raise DataError(f"{path} holds no run; name a run directory or its run.h5", "run")


def _check_sizes(there: Mapping[str, int], here: Mapping[str, int]) -> None:
    for name, size in here.items():
        if name not in there:
            raise DataError(f"the run has no population {name}; name a run of the same network", "run")
        if there[name] != size:
            wrong = f"{name} has {there[name]} neurons in the run and {size} here"
            raise DataError(f"{wrong}; name a run of the same network", "run")
