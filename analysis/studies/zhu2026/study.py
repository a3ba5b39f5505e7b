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
    "Chosen with the runs from seeds 1 to 6 of the quick scale in view: the bounds that neither paper nor theory "
    "gives, of the rates in the control and of the factor by which the effective model's variance is too large; how "
    "far the caveat on that model without correlated input reaches; to give the figure's count correlations the "
    "errors of their windows, with which one of them is no contradiction. Runs from seeds 101 to 104 contradicted no "
    "claim.",
)
