"""WHAT is simulated: a frozen, validated description that knows no rank."""

from mpi_engine.experiment.base import (
    Distribution,
    Geometry,
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
from mpi_engine.experiment.changes import find_changes, may_change
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.effective import EffectiveTimeConstant
from mpi_engine.experiment.experiment import Experiment, Run, Seed, blocks
from mpi_engine.experiment.files import load_experiment, parse_experiment
from mpi_engine.experiment.inputs import Current, OrnsteinUhlenbeck, Poisson, Recorded
from mpi_engine.experiment.pairs import (
    HebbianHard,
    HebbianSoft,
    Homeostatic,
    Kohonen,
    Oja,
    Pair,
    PairCoefficients,
    PairRule,
)
from mpi_engine.experiment.plasticity import Normalisation, Triplet, UserRule
from mpi_engine.experiment.populations import (
    AdaptiveExponential,
    ExponentialIntegrateAndFire,
    LeakyIntegrateAndFire,
    Neuron,
    Population,
    Subpopulation,
    UserNeuron,
)
from mpi_engine.experiment.problems import ExperimentError, Problem
from mpi_engine.experiment.projections import (
    ExponentialConductance,
    ExponentialCurrent,
    Profile,
    Projection,
    UserSynapse,
)
from mpi_engine.experiment.recording import Rates, Recording, Statistics, Traces, Weights
from mpi_engine.experiment.warnings import find_warnings

__all__ = [
    "AdaptiveExponential",
    "CodingExperiment",
    "Current",
    "Distribution",
    "EffectiveTimeConstant",
    "Experiment",
    "ExperimentError",
    "ExponentialConductance",
    "ExponentialCurrent",
    "ExponentialIntegrateAndFire",
    "Geometry",
    "HebbianHard",
    "HebbianSoft",
    "Homeostatic",
    "Kohonen",
    "LeakyIntegrateAndFire",
    "Lognormal",
    "Neuron",
    "Normal",
    "Normalisation",
    "Oja",
    "OrnsteinUhlenbeck",
    "Pair",
    "PairCoefficients",
    "PairRule",
    "Part",
    "Poisson",
    "Population",
    "Problem",
    "Profile",
    "Projection",
    "Rates",
    "Recorded",
    "Recording",
    "Run",
    "Seed",
    "Statistics",
    "Subpopulation",
    "Traces",
    "Triplet",
    "Uniform",
    "UserNeuron",
    "UserRule",
    "UserSynapse",
    "Value",
    "Weights",
    "average",
    "blocks",
    "find_changes",
    "find_warnings",
    "highest",
    "load_experiment",
    "lowest",
    "may_change",
    "parse_experiment",
    "steps",
]
