"""WHAT is simulated: a frozen, validated description that knows no rank."""

from mpi_engine.experiment.base import (
    Distribution,
    Lognormal,
    Normal,
    Part,
    Uniform,
    Value,
    average,
    highest,
    lowest,
    steps,
)
from mpi_engine.experiment.consistency import ExperimentError, Problem, find_warnings
from mpi_engine.experiment.experiment import Experiment, Run, Seed
from mpi_engine.experiment.files import load_experiment, parse_experiment
from mpi_engine.experiment.inputs import Current, OrnsteinUhlenbeck, Poisson, Recorded
from mpi_engine.experiment.plasticity import (
    HebbianHard,
    HebbianSoft,
    Homeostatic,
    Kohonen,
    Oja,
    Pair,
    PairCoefficients,
)
from mpi_engine.experiment.populations import (
    AdaptiveExponential,
    ExponentialIntegrateAndFire,
    LeakyIntegrateAndFire,
    Neuron,
    Population,
    Subpopulation,
)
from mpi_engine.experiment.projections import ExponentialConductance, ExponentialCurrent, Projection
from mpi_engine.experiment.recording import Rates, Recording, Statistics, Traces, Weights

__all__ = [
    "AdaptiveExponential",
    "Current",
    "Distribution",
    "Experiment",
    "ExperimentError",
    "ExponentialConductance",
    "ExponentialCurrent",
    "ExponentialIntegrateAndFire",
    "HebbianHard",
    "HebbianSoft",
    "Homeostatic",
    "Kohonen",
    "LeakyIntegrateAndFire",
    "Lognormal",
    "Neuron",
    "Normal",
    "Oja",
    "OrnsteinUhlenbeck",
    "Pair",
    "PairCoefficients",
    "Part",
    "Poisson",
    "Population",
    "Problem",
    "Projection",
    "Rates",
    "Recorded",
    "Recording",
    "Run",
    "Seed",
    "Statistics",
    "Subpopulation",
    "Traces",
    "Uniform",
    "Value",
    "Weights",
    "average",
    "find_warnings",
    "highest",
    "load_experiment",
    "lowest",
    "parse_experiment",
    "steps",
]
