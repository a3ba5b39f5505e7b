"""What an experiment with a coding network leaves open, chosen from the teacher's own scale."""

from __future__ import annotations

from pathlib import Path

from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.coding_network import GivenDecoder
from mpi_engine.experiment.phases import Geometric


def fill_in(experiment: CodingExperiment, directory: Path | None) -> CodingExperiment:
    """Fill in the decoder's norm, the basis, and the feedback and learning rate of phases.

    Parameters
    ----------
    experiment : CodingExperiment
        As given.
    directory : Path or None
        What relative paths are relative to.

    Returns
    -------
    CodingExperiment
        With nothing left open.
    """
    e = experiment
    network, decoder = e.network, e.network.decoder
    if not isinstance(decoder, GivenDecoder) and decoder.norm is None:
        decoder = decoder.model_copy(update={"norm": 6.0 / network.size})
    basis = network.basis.model_copy(
        update={"gains": network.basis.gains or [0.5, 2.0],
                "offset": 1.5 if network.basis.offset is None else network.basis.offset}
    )
    phases = {}
    for name, phase in e.phases.items():
        update: dict[str, object] = {}
        if phase.feedback_per_s is None:
            k = Geometric(geometric=[100.0, 50.0]) if phase.does == "learn" else 100.0
            update["feedback_per_s"] = 0.0 if phase.does == "run" else k
        if phase.learning_rate_per_s2 is None:
            learns = phase.does == "learn" and network.drift == "learned"
            update["learning_rate_per_s2"] = Geometric(geometric=[20.0, 1.0]) if learns else 0.0
        phases[name] = phase.model_copy(update=update)
    network = network.model_copy(update={"decoder": decoder, "basis": basis})
    return e.model_copy(update={"network": network, "phases": phases})
