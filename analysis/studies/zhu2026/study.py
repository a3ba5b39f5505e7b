"""The study of Zhu, Ocker & Rosenbaum (2026); its runs are described in study.toml."""

from __future__ import annotations

from analysis.studies.study import Study
from analysis.studies.zhu2026.claims import CLAIMS
from analysis.studies.zhu2026.figures import FIGURES
from analysis.studies.zhu2026.networks import effective_models, matched_networks

STUDY = Study(
    "Membrane potentials in balanced networks with conductance-based synapses",
    "Zhu, Ocker & Rosenbaum, Empirical scaling laws in balanced networks with conductance-based synapses (2026)",
    CLAIMS,
    FIGURES,
    {"effective": effective_models, "matched": matched_networks},
)
