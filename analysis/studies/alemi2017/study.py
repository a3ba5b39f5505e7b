"""The study of Alemi, Machens, Denève & Slotine (2018); its runs are described in study.toml."""

from __future__ import annotations

from analysis.studies.alemi2017.claims import CLAIMS
from analysis.studies.alemi2017.figures import FIGURES
from analysis.studies.study import Study

STUDY = Study(
    "Efficient balanced networks that learn dynamics with a local rule",
    "Alemi, Machens, Denève & Slotine, Learning nonlinear dynamics in efficient, balanced spiking networks using local "
    "plasticity rules (AAAI 2018)",
    CLAIMS,
    FIGURES,
)
