"""What theory says of a network from its experiment alone, by the names of what is measured in a run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

from analysis.theory.balance import NoBalance, mean_field, stationary_inputs
from analysis.theory.covariance import asynchronous_count_covariance, correlated_count_covariance
from analysis.theory.plasticity import FixedPoint, possible_states
from mpi_engine.experiment import Experiment, Homeostatic

WINDOW_MS = 250.0


@dataclass(frozen=True)
class Prediction:
    """A number in the limit of large N, and from where to where it can be at the network's own size."""

    limit: float
    low: float
    high: float


def predictions(experiment: Experiment) -> dict[tuple[str, str], Prediction]:
    """Predict rates, covariances of spike counts and weights.

    Parameters
    ----------
    experiment : Experiment
        The network; its inputs at their nominal rates.

    Returns
    -------
    dict
        By name of a measure and what it is of, as `analysis.measures` has them: "rate" [Hz], "count covariance" in
        windows of 250 ms, and, where a homeostatic rule acts, "⟨J r⟩/⟨r⟩", else "mean weight" [as named].

    Raises
    ------
    NoBalance
        If there is no balanced state, or none that theory knows.
    """
    states = possible_states(experiment)

    def over(values: list[float]) -> Prediction:
        return Prediction(values[0], min(values), max(values))

    found = {("rate", a): over([state.rates_hz[a] for state in states]) for a in experiment.populations}
    for name, p in experiment.plastic.items():
        felt = any(isinstance(experiment.plasticity[rule], Homeostatic) for rule in p.rules)
        measure = "⟨J r⟩/⟨r⟩" if felt else "mean weight"
        found[measure, name] = over([state.weights_mv[name] for state in states])
    return found | _covariances(experiment, states[0])


def _covariances(experiment: Experiment, state: FixedPoint) -> dict[tuple[str, str], Prediction]:
    """Leading order in N, of correlated or of independent input; nothing where the mean of V would be needed."""
    correlated = any(train.correlation > 0 for train, _ in stationary_inputs(experiment).values())
    covariance = correlated_count_covariance if correlated else asynchronous_count_covariance
    try:
        values = covariance(experiment, mean_field(experiment, state.weights_mv), WINDOW_MS)
    except NoBalance:
        return {}
    found = {}
    for (j, a), (k, b) in combinations_with_replacement(enumerate(experiment.populations), 2):
        value = float(values[j, k])
        found["count covariance", f"{a} with {b}"] = Prediction(value, value, value)
    return found
