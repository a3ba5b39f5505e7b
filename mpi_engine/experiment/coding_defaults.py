r"""What an experiment with a coding network leaves open, chosen from the teacher's own scale.

With the rate of turnover :math:`\omega` (speed over amplitude), the Lipschitz constant L of f, and a decorrelated
basis of :math:`N_b` units, whose mean square is :math:`\langle|\psi|^2\rangle = N_b`: the error is stable for k > L, a
mode of the weights' error relaxes at the rate :math:`\eta w / k`, where w is its share of
:math:`\langle|\psi|^2\rangle`, and weights that adapt faster than the state turns over follow it instead of learning.
"""

from __future__ import annotations

import math
from pathlib import Path

from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.coding_network import Basis, CodingNetwork, GivenDecoder
from mpi_engine.experiment.data import DataError
from mpi_engine.experiment.phases import Geometric, NoiseInput, Phase
from mpi_engine.experiment.pilot import Pilot, PilotError, choose_scale, exploring_noise, run_pilot
from mpi_engine.experiment.problems import ExperimentError, Problem
from mpi_engine.experiment.teachers import RecordedTeacher, Teacher
from mpi_engine.experiment.trajectory import resolve_trajectory

_RATE_HZ = 5.6
"""Mean firing rate that the length of decoding vectors is chosen for."""

_FINEST = 0.02
"""Shortest decoding vectors that are chosen, in units of the teacher's amplitude."""

_WIDTH = 0.4
"""Root mean square of a coordinate, below which gains grow, so that units differ over the states that are visited."""

_SMOOTH, _STEEP = (0.2, 0.8), (0.5, 2.0)
"""Gains: differences of smooth units approximate smooth functions best; without decorrelation, units are too alike."""

_UNITS, _FEWEST_UNITS = 20, 10
"""Units of a basis for each dimension; and in one dimension, where no more are different enough."""


def fill_in(experiment: CodingExperiment, directory: Path) -> CodingExperiment:
    """Fill in the teacher's scale, the decoder's length, the basis, and inputs, feedback and rates of phases.

    Parameters
    ----------
    experiment : CodingExperiment
        As given.
    directory : Path
        What relative paths are relative to.

    Returns
    -------
    CodingExperiment
        With nothing left open.

    Raises
    ------
    ExperimentError
        If the teacher cannot be followed.
    """
    e = experiment
    try:
        teacher = e.teacher
        if isinstance(teacher, RecordedTeacher):
            teacher = resolve_trajectory(teacher, directory)
        offset, scale = choose_scale(teacher)
        teacher = teacher.model_copy(update={"offset": offset, "scale": scale})
        phases = {name: _fill_in_input(phase, teacher) for name, phase in e.phases.items()}
        e = e.model_copy(update={"teacher": teacher, "phases": phases})
        pilot = run_pilot(teacher, e.exploring_input)
    except DataError as error:
        raise ExperimentError([Problem(f"teacher.{error.key}", "", str(error))]) from None
    except PilotError as error:
        raise ExperimentError([Problem("teacher", repr(e.teacher.kind), str(error))]) from None
    network = _fill_in_network(e.network, teacher, pilot)
    phases = {name: _fill_in_rates(phase, network, pilot) for name, phase in phases.items()}
    return e.model_copy(update={"network": network, "phases": phases})


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _fill_in_input(phase: Phase, teacher: Teacher) -> Phase:
    """Give a phase of learning an input that explores, or give the noise of any phase what it lacks."""
    given = phase.input
    if phase.does == "learn" and given is None:
        given = NoiseInput(kind="ornstein_uhlenbeck")
    if not isinstance(given, NoiseInput) or None not in (given.std_per_s, given.tau_ms):
        return phase
    chosen = exploring_noise(teacher)
    assert chosen.std_per_s is not None and chosen.tau_ms is not None
    std = _rounded(chosen.std_per_s) if given.std_per_s is None else given.std_per_s
    tau_ms = _rounded(chosen.tau_ms) if given.tau_ms is None else given.tau_ms
    return phase.model_copy(update={"input": NoiseInput(kind=given.kind, std_per_s=std, tau_ms=tau_ms)})


def _fill_in_network(network: CodingNetwork, teacher: Teacher, pilot: Pilot) -> CodingNetwork:
    decoder, basis, k = network.decoder, network.basis, teacher.n_dimensions
    if not isinstance(decoder, GivenDecoder) and decoder.norm is None:
        change = pilot.slopes + network.leak_per_s * pilot.states
        norm = math.sqrt(float((change**2).sum(axis=1).mean())) / (_RATE_HZ * network.size)
        decoder = decoder.model_copy(update={"norm": _rounded(max(norm, _FINEST * pilot.amplitude))})
    steeper = max(1.0, _WIDTH / max(pilot.amplitude / math.sqrt(k), 1e-3))
    decorrelated = basis.kind == "structured" if basis.decorrelated is None else basis.decorrelated
    basis = basis.model_copy(update={
        "size": basis.size or (_UNITS * k if k > 1 else _FEWEST_UNITS),
        "gains": basis.gains or [_rounded(gain * steeper) for gain in (_SMOOTH if decorrelated else _STEEP)],
        "offset": 1.0 if basis.offset is None else basis.offset,
        "decorrelated": decorrelated,
    })
    return network.model_copy(update={"decoder": decoder, "basis": basis})


def _fill_in_rates(phase: Phase, network: CodingNetwork, pilot: Pilot) -> Phase:
    k = _rounded(max(100.0, 4 * pilot.lipschitz_per_s))
    update: dict[str, object] = {}
    if phase.feedback_per_s is None:
        update["feedback_per_s"] = 0.0 if phase.does == "run" else k
    if phase.learning_rate_per_s2 is None:
        learns = phase.does == "learn" and network.drift == "learned"
        k = phase.feedback[0] or k
        square = _mean_square(network.basis)
        eta = _rounded(min(3 * k * pilot.turnover_per_s, k * k / 8) / square)
        falling = Geometric(geometric=[eta, _rounded(eta / 60)]) if eta > 0 else 0.0
        update["learning_rate_per_s2"] = falling if learns else 0.0
    return phase.model_copy(update=update)


def _mean_square(basis: Basis) -> float:
    """Mean of |psi|^2: one a unit if decorrelated, and about a half if not."""
    assert basis.size is not None
    return basis.size * (1.0 if basis.decorrelated else 0.5)
