"""Reading the run of a coding network, finished or still going, without MPI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import CodingExperiment
from mpi_engine.output.coding_layout import CODING
from mpi_engine.output.integrity import RunError
from mpi_engine.output.reader import RunReader
from mpi_engine.output.recorded import Traces

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Tracking:
    """Teacher and readout over time.

    Parameters
    ----------
    times_ms : ndarray of float, shape (T,)
        Times [ms].
    x, xhat, error, input : ndarray of float, shape (T, K)
        The teacher's state, the readout, their difference, and the input of the step [1/s].
    """

    times_ms: Floats
    x: Floats
    xhat: Floats
    error: Floats
    input: Floats


@dataclass(frozen=True, repr=False)
class SlowWeights:
    """Slow weights over time.

    Parameters
    ----------
    time_ms : ndarray of float, shape (S,)
        Times [ms].
    theta : ndarray of float, shape (S, N_b, K), optional
        Factored weights [1/s].
    W : ndarray of float, shape (S, N_b, N), optional
        Weights of every synapse, where these are stored [1/s].
    drift_error : ndarray of float, shape (S,), optional
        Relative error of the learned drift at visited states; NaN at the beginning, None where it has none.
    """

    time_ms: Floats
    theta: Floats | None = None
    W: Floats | None = None
    drift_error: Floats | None = None


def open_coding_run(path: str | Path) -> CodingReader:
    """Open the run directory, or the run file, of a coding network.

    Raises
    ------
    RunError
        If there is no run, it is one of another kind, or its file is damaged or foreign.
    """
    return CodingReader(Path(path))


class CodingReader(RunReader):
    """What the run of a coding network recorded until now; see `RunReader`.

    Parameters
    ----------
    path : Path
        A run directory or a run file.
    """

    experiment: CodingExperiment

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if not isinstance(self.experiment, CodingExperiment):
            raise RunError(f'{path}: is not the run of a coding network; name one whose experiment has kind = "coding"')

    def tracking(self) -> Tracking:
        """Read teacher, readout, error and input."""
        attributes, columns = self._columns(f"{CODING}/state", "the state", "add recording.state and run again")
        return Tracking(_times(attributes, columns["x"]), **columns)

    def currents(self) -> Traces:
        """Read V and the currents of chosen neurons, as named by `mpi_engine.dynamics.coding_recorders.CURRENTS`."""
        remedy = "add recording.currents and run again"
        attributes, columns = self._columns(f"{CODING}/currents", "the currents", remedy)
        ids = columns.pop("node_ids").astype(np.int64)
        return Traces(_times(attributes, columns["V"]), ids, columns)

    def slow_weights(self) -> SlowWeights:
        """Read the snapshots of slow weights."""
        remedy = "add recording.slow_weights and run again"
        return SlowWeights(**self._columns(f"{CODING}/slow_weights", "slow weights", remedy)[1])

    def network(self) -> dict[str, NDArray[Any]]:
        """Read what the network is made of: the decoder of shape (N, K), and the basis, A of shape (N_b, K)."""
        return self._columns(f"{CODING}/network", "the network", "run it for a step at least")[1]


def _times(attributes: dict[str, Any], values: NDArray[Any]) -> Floats:
    return float(attributes["start_ms"]) + float(attributes["interval_ms"]) * np.arange(len(values), dtype=np.float64)
