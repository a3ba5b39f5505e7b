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
        Its width; zero if distance does not matter.
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


def places_of(experiment: Experiment, projection: str) -> Places:
    """Find the positions that matter to a projection."""
    p = experiment.projections[projection]
    if p.profile is None:
        return Places(np.empty((0, 2)), np.empty((0, 2)), closed=False, gaussian=False, width=0.0)
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


@part
def is_near(key: Key, places: Places, source: int, target: int) -> bool:
    """Draw whether two neurons are near enough: with the probability that belongs to their distance."""
    d = _distance(places.sources[source], places.targets[target], places.closed) / places.width
    word, _, _, _ = philox(key, source, target, 0, 0)
    return uniform(word) < exp(-0.5 * d * d if places.gaussian else -d)
