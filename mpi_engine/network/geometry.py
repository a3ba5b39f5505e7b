"""Geometry: where neurons are, and connections thinned by distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.network.mathematics import exp
from mpi_engine.network.streams import Key, philox, stream_key, uniform, uniform53


class Places(NamedTuple):
    """Sources and targets of a projection in space, for compiled code.

    Parameters
    ----------
    sources, targets : ndarray of float64, shape (n, 2)
        Positions of whole populations; see `positions`.
    closed : bool
        Whether opposite ends of the space meet.
    gaussian : bool
        Which profile; see `mpi_engine.experiment.Profile`.
    width : float
        Its width.
    """

    sources: NDArray[np.float64]
    targets: NDArray[np.float64]
    closed: bool
    gaussian: bool
    width: float


def positions(experiment: Experiment, population: str) -> NDArray[np.float64]:
    """Place the neurons of a population on its line, ring or torus.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Coordinates from 0 to 1; the second is zero on a line and a ring.
    """
    n = experiment.populations[population].size
    places = np.zeros((n, 2))
    if experiment.populations[population].positions == "torus":
        _scatter(stream_key(experiment.seed.network, "positions", population), places)
    else:
        places[:, 0] = (np.arange(n) + 0.5) / n
    return places


def places_of(experiment: Experiment, projection: str) -> Places | None:
    """Find the positions that matter to a projection: None if distance does not."""
    p = experiment.projections[projection]
    if p.profile is None:
        return None
    return Places(
        sources=positions(experiment, p.source),
        targets=positions(experiment, p.target),
        closed=experiment.positions(p.target) != "line",
        gaussian=p.profile.shape == "gaussian",
        width=p.profile.width,
    )


@kernel
def _scatter(key: Key, places: NDArray[np.float64]) -> None:
    for i in range(places.shape[0]):
        a, b, c, d = philox(key, i, 0, 0, 0)
        places[i, 0], places[i, 1] = uniform53(a, b), uniform53(c, d)


@part
def _distance(here: NDArray[np.float64], there: NDArray[np.float64], closed: bool) -> float:
    square = 0.0
    for axis in range(2):
        difference = abs(here[axis] - there[axis])
        if closed:
            difference = min(difference, 1.0 - difference)
        square += difference * difference
    return np.sqrt(square)


@kernel
def thin(key: Key, places: Places, ids: NDArray[np.int64], sources: NDArray[np.int32], ends: NDArray[np.int64]) -> None:
    """Keep each drawn connection with the probability that belongs to its distance.

    Parameters
    ----------
    key : Key
        The stream.
    places : Places
        Positions and profile.
    ids : ndarray of int64, shape (n,)
        The targets.
    sources : ndarray of int32
        Their sources, one target after the other; what is kept moves to the front.
    ends : ndarray of int64, shape (n,)
        Where each target's sources end; set to where they end now.
    """
    begin = kept = 0
    for i in range(ids.size):
        target = ids[i]
        for k in range(begin, ends[i]):
            source = sources[k]
            d = _distance(places.sources[source], places.targets[target], places.closed) / places.width
            word, _, _, _ = philox(key, source, target, 0, 0)
            if uniform(word) < exp(-0.5 * d * d if places.gaussian else -d):
                sources[kept] = source
                kept += 1
        begin = ends[i]
        ends[i] = kept
