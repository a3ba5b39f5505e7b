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
    chosen="Chosen with runs from seeds 1 to 5 of the quick scale in view: the schedule and gains of learning, sizes "
    "and durations, and the caveat on fifty neurons. With seeds 6 to 10, which networks on Lorenz's attractor have "
    "too, nothing was chosen but their number. The paper's words have no numbers: all bounds are ours.",
)
