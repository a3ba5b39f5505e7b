"""Every way of connecting against its distribution, and its independence of cuts; weights and delays of synapses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mpi_engine.dynamics.neurons import make_population
from mpi_engine.dynamics.synapses import make_projection
from mpi_engine.experiment import Experiment, Seed, parse_experiment
from mpi_engine.network import connectivity, distinct, drawing, rows
from mpi_engine.network.connectivity import connect
from mpi_engine.network.geometry import positions
from mpi_engine.network.partition import Partition

Dense = NDArray[np.float64]

N, M = 600, 400     # targets and sources
LIMIT = 4.0         # standard errors; once in 16000 tests by chance, and seeds are fixed


def network(geometry: str | None = None, target: str = "A", source: str = "B", **projection: Any) -> Experiment:
    """One projection, from B to A unless named otherwise, and nothing to run."""
    place = {"positions": geometry} if geometry else {}
    given = {"source": source, "target": target, "synapse": "fast", "weight_mv": 1.0}
    return parse_experiment({
        "seed": 11,
        "run": {"duration_ms": 1.0},
        "neurons": {"lif": {"model": "lif", "tau_m_ms": 10.0, "E_L_mv": -70.0, "V_th_mv": -50.0, "V_reset_mv": -70.0,
                            "V_init_mv": -70.0}},
        "populations": {"A": {"size": N, "neuron": "lif", **place}, "B": {"size": M, "neuron": "lif", **place}},
        "subpopulations": {
            "A1": {"population": "A", "first": 100, "count": 50},
            "odd": {"population": "A", "neurons": list(range(1, N, 2))},
        },
        "synapses": {"fast": {"kind": "exponential_current", "tau_ms": 2.0}},
        "projections": {"P": given | projection},
    })


def dense(experiment: Experiment, cuts: list[int] | None = None, of: str = "connected") -> Dense:
    """Targets by sources: whether connected, or the weight or delay in steps; put together from the ranks' parts."""
    p = experiment.projections["P"]
    n_target, n_source = experiment.sizes[p.target], experiment.sizes[p.source]
    cuts = cuts or [0, n_target]
    partition = Partition({name: cuts if name == p.target else [0] * len(cuts) for name in experiment.sizes})
    whole = np.zeros((n_target, n_source))
    for rank, first in enumerate(cuts[:-1]):
        drawn = connect(experiment, "P", partition, rank)
        source, local = drawn.ends
        target = local + first
        synapses: Any = make_projection(experiment, "P", drawn, make_population(experiment, p.target, partition, rank))
        values = {"connected": 1.0, "weights": getattr(synapses, "weights", 0.0),
                  "steps": getattr(synapses, "steps", 0)}[of]
        assert drawn.in_degree.tolist() == np.bincount(local, minlength=drawn.in_degree.size).tolist()
        assert drawn.out_degree.tolist() == np.bincount(source, minlength=n_source).tolist()
        assert np.all(np.diff(target)[np.diff(source) == 0] > 0), "a row is not ascending, or a pair is connected twice"
        np.add.at(whole, (target, source), values)
    return whole


def z_of_mean(connected: Dense, probability: Dense | float) -> float:
    """Number of connections against independent draws, in standard errors."""
    p = np.broadcast_to(probability, connected.shape)
    return float((connected.sum() - p.sum()) / np.sqrt((p * (1 - p)).sum()))


def test_independent_connections_have_binomial_degrees() -> None:
    connected = dense(network(probability=0.1))
    assert abs(z_of_mean(connected, 0.1)) < LIMIT
    rng = np.random.default_rng(1)
    for axis, n in ((0, N), (1, M)):
        degree, binomial = connected.sum(axis=axis), stats.binom(n, 0.1)
        # the steps of the distribution are filled at random, as the test is one of continuous numbers
        quantiles = binomial.cdf(degree - 1) + rng.random(degree.size) * binomial.pmf(degree)
        assert stats.kstest(quantiles, stats.uniform.cdf).pvalue > 1e-3
    # neighbouring pairs are independent
    assert abs(np.corrcoef(connected[:, :-1].ravel(), connected[:, 1:].ravel())[0, 1]) < LIMIT / np.sqrt(N * M)


@pytest.mark.parametrize("probability", [1e-9, 1.0])
def test_extreme_probabilities(probability: float) -> None:
    connected = dense(network(source="A", probability=probability, self_connections=False))
    assert connected.sum() == (N * (N - 1) if probability == 1.0 else 0)
    assert not connected.diagonal().any()


def test_a_fixed_in_degree_draws_every_source_alike() -> None:
    connected = dense(network(source="A", in_degree=40, self_connections=False))
    assert np.all(connected.sum(axis=1) == 40)
    assert not connected.diagonal().any()
    # a source is drawn by each of N - 1 targets with probability 40 / (N - 1); degrees add up to 40 N
    variance = 40 * (1 - 40 / (N - 1))
    chi_square = float(((connected.sum(axis=0) - 40) ** 2).sum() / variance)
    assert abs(chi_square - (N - 1)) < LIMIT * np.sqrt(2 * N)


def test_in_degrees_can_be_drawn() -> None:
    degrees = dense(network(in_degree={"normal": [50.0, 10.0]})).sum(axis=1)
    assert abs(degrees.mean() - 50) < LIMIT * 10 / np.sqrt(N)
    assert abs(degrees.var() / (100 + 1 / 12) - 1) < LIMIT * np.sqrt(2 / N)     # rounding adds 1/12
    assert abs(np.corrcoef(degrees[:-1], degrees[1:])[0, 1]) < LIMIT / np.sqrt(N)
    clipped = dense(network(in_degree={"uniform": [-200.0, 600.0]})).sum(axis=1)
    assert clipped.min() == 0
    assert clipped.max() == M
    for end in (0, M):
        assert abs((clipped == end).mean() - 0.25) < LIMIT * np.sqrt(0.25 * 0.75 / N)


MATRIX = [[0.3, 0.0, 0.05], [0.01, 1.0, 0.2]]


@pytest.mark.parametrize("self_connections", [True, False])
def test_blocks_have_their_probabilities(self_connections: bool) -> None:
    experiment = network(source="A1", target="odd", probability=MATRIX, self_connections=self_connections)
    connected = dense(experiment)[1::2, 100:150]
    expected = np.repeat(np.repeat(MATRIX, [150, 150], axis=0), [16, 17, 17], axis=1)
    if not self_connections:
        expected[np.arange(50, 75), np.arange(1, 50, 2)] = 0
    for p in np.unique(expected):
        block = connected[expected == p]
        assert abs(block.sum() - p * block.size) <= LIMIT * np.sqrt(block.size * p * (1 - p))
    assert experiment.expected_in_degree("P")[0] == pytest.approx(expected.sum() / N, abs=0.5)


@pytest.mark.parametrize("geometry", ["line", "ring", "torus"])
@pytest.mark.parametrize("shape", ["gaussian", "exponential"])
def test_connections_fall_with_distance(geometry: str, shape: str) -> None:
    experiment = network(geometry, probability=0.8, profile={"shape": shape, "width": 0.1})
    connected = dense(experiment)
    target, source = positions(experiment, "A"), positions(experiment, "B")
    assert target.min() >= 0 and target.max() <= 1
    if geometry == "torus":
        assert stats.kstest(target.ravel(), "uniform").pvalue > 1e-3
    else:
        assert target[:, 0] == pytest.approx((np.arange(N) + 0.5) / N)
    apart = np.abs(target[:, np.newaxis] - source)
    if geometry != "line":
        apart = np.minimum(apart, 1 - apart)
    d = np.hypot(apart[..., 0], apart[..., 1])
    expected = 0.8 * np.exp(-((d / 0.1) ** 2) / 2 if shape == "gaussian" else -d / 0.1)
    assert abs(z_of_mean(connected, expected)) < LIMIT
    for low in np.arange(0, 0.5, 0.05):
        ring = (low <= d) & (d < low + 0.05)
        assert abs(z_of_mean(connected[ring], expected[ring])) < LIMIT
    mean, most = experiment.expected_in_degree("P")
    # positions on a torus are drawn, and scatter the mean over pairs
    assert mean == pytest.approx(expected.sum() / N, rel=0.1 if geometry == "torus" else 1e-3)
    if geometry != "torus":
        assert most == pytest.approx(expected.sum(axis=1).max(), rel=1e-3)


def test_the_stated_mean_of_a_profile_is_its_integral() -> None:
    for shape, line, plane in (("gaussian", np.sqrt(2 * np.pi), 2 * np.pi), ("exponential", 2.0, 2 * np.pi)):
        profile = network("ring", probability=0.5, profile={"shape": shape, "width": 0.02}).projections["P"].profile
        assert profile is not None
        assert profile.mean("ring") == pytest.approx(line * 0.02, rel=1e-4)
        assert profile.mean("torus") == pytest.approx(plane * 0.02**2, rel=1e-4)
        assert profile.mean("line") < profile.mean("ring")


@pytest.mark.parametrize("way", [{"probability": 0.2}, {"in_degree": 30}])
@pytest.mark.parametrize(("source", "target"), [("A1", "odd"), ("odd", "A1"), ("odd", "A"), ("B", "A1")])
def test_only_subpopulations_are_connected(way: dict[str, Any], source: str, target: str) -> None:
    experiment = network(source=source, target=target, self_connections=False, **way)
    assert parse_experiment(experiment.model_dump(exclude_none=True)) == experiment
    (population, sources), (_, targets) = experiment.members(source), experiment.members(target)
    connected = dense(experiment)
    inside = connected[np.ix_(targets, sources)]
    assert inside.sum() == connected.sum() > 0
    possible = np.ones(inside.shape) if population == "B" else (targets[:, np.newaxis] != sources) * 1.0
    assert not inside[possible == 0].any()
    if "in_degree" in way:
        assert np.all(inside.sum(axis=1) == 30)
        chances = 30 / possible.sum(axis=1, keepdims=True) * possible
        drawn = inside.sum(axis=0) - chances.sum(axis=0)
        assert np.all(np.abs(drawn) < 5 * np.sqrt(chances.sum(axis=0)))
    else:
        assert abs(z_of_mean(inside, 0.2 * possible)) < LIMIT
    assert experiment.expected_in_degree("P")[0] == pytest.approx(connected.sum() / N, rel=0.1)


DRAWN = {"weight_mv": {"lognormal": [0.5, 0.5]}, "delay_ms": {"normal": [2.0, 0.3]}}
WAYS: dict[str, dict[str, Any]] = {
    "probability": {"probability": 0.1},
    "no self": {"source": "A", "probability": 0.1, "self_connections": False},
    "in_degree": {"in_degree": {"normal": [50.0, 10.0]}},
    "blocks": {"source": "odd", "probability": MATRIX},
    "distance": {"geometry": "torus", "probability": 0.5, "profile": {"shape": "gaussian", "width": 0.2}},
    "subpopulations": {"source": "A1", "target": "odd", "in_degree": 20, "self_connections": False},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing_depends_on_cuts_blocks_or_the_buffer(way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = network(**way, **DRAWN)
    alike = network(**way)     # without drawn weights and delays: as an adjacency matrix, where there are enough
    whole = {of: dense(experiment, of=of) for of in ("connected", "weights", "steps")}
    assert np.all((whole["weights"] > 0) == whole["connected"])
    for module in (connectivity, distinct):
        monkeypatch.setattr(module, "BUFFER", 100)
    monkeypatch.setattr(distinct, "_BAND_BYTES", 1000)
    monkeypatch.setattr(distinct, "_SHORTEST", 3)
    monkeypatch.setattr(drawing, "_with_room", int)
    for block, cuts in ((2**16, [0, N]), (100, [0, N]), (299, [0, 300, N]), (7, [0, 0, 1, 1, 222, 599, N])):
        monkeypatch.setattr(rows, "BLOCK", block)
        for of, values in whole.items():
            assert np.array_equal(dense(experiment, cuts, of), values)
        assert np.array_equal(dense(alike, cuts), whole["connected"])


LAWS = {
    "uniform": ({"uniform": [-2.0, -1.0]}, stats.uniform(-2, 1)),
    "normal": ({"normal": [5.0, 0.5]}, stats.norm(5, 0.5)),
    "lognormal": ({"lognormal": [3.0, 0.8]}, stats.lognorm(0.8, scale=3)),
}


@pytest.mark.parametrize(("value", "distribution"), LAWS.values(), ids=LAWS)
def test_weights_follow_their_distribution(value: dict[str, Any], distribution: Any) -> None:
    experiment = network(probability=0.1, weight_mv=value, weight_scaling="1/sqrt(N)")
    weights = dense(experiment, of="weights")
    drawn = weights[weights != 0] * np.sqrt(N + M)
    assert stats.kstest(drawn, distribution.cdf).pvalue > 1e-3
    error = LIMIT * distribution.std() / np.sqrt(drawn.size)
    assert experiment.named_weight("P") == pytest.approx(distribution.mean(), rel=1e-12)
    assert abs(drawn.mean() - distribution.mean()) < error
    # neither a source's nor a target's weights have anything in common
    for axis in (0, 1):
        counts = (weights != 0).sum(axis=axis)
        means = weights.sum(axis=axis) * np.sqrt(N + M) / counts
        scatter = np.sqrt(counts) * (means - distribution.mean()) / distribution.std()
        assert abs(scatter.var() - 1) < 0.5
    other = dense(experiment.model_copy(update={"seed": Seed(network=12)}), of="weights")
    both = (weights != 0) & (other != 0)
    assert abs(np.corrcoef(weights[both], other[both])[0, 1]) < LIMIT / np.sqrt(both.sum())


def test_delays_follow_their_distribution() -> None:
    experiment = network(probability=0.1, delay_ms={"uniform": [1.0, 3.0]})
    steps = dense(experiment, of="steps")[dense(experiment) == 1]
    expected = np.full(21, steps.size / 20)     # from 10 to 30 steps, rounded: the ends get half
    expected[[0, -1]] /= 2
    counts = np.bincount(steps.astype(int), minlength=31)[10:]
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    longer = network(probability=0.1, delay_ms={"uniform": [0.1, 60.0]})
    alone = (Partition.even(longer.sizes, 1), 0)
    targets = make_population(longer, longer.projections["P"].target, *alone)
    synapses = make_projection(longer, "P", connect(longer, "P", *alone), targets)
    assert synapses.steps.dtype == np.uint16
    assert (synapses.steps.min(), synapses.steps.max()) == (1, 600)
