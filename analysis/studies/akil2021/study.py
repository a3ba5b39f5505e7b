"""The study of Akil, Rosenbaum & Josić (2021): plasticity in balanced networks with correlated input."""

from analysis.studies.akil2021 import balance, figures, growth, learning, manifold, stability, structure
from analysis.studies.study import Study

STUDY = Study(
    title="Plasticity in balanced networks with correlated input",
    paper="Akil, Rosenbaum & Josić, Balanced networks under spike-time dependent plasticity, "
    "PLoS Computational Biology 17:e1008958 (2021)",
    claims=(
        balance.attained,
        balance.from_unbalanced_starts,
        balance.through_a_stimulus,
        learning.drift_of_the_general_form,
        learning.drift_of_each_rule,
        manifold.converged,
        manifold.traded,
        manifold.predicted,
        manifold.perturbed,
        manifold.unique,
        learning.weights_under_correlations,
        stability.limit_of_kohonen,
        stability.below_theory,
        stability.limit_of_inhibition,
        structure.weight_against_rate,
        structure.weight_against_degree,
        structure.distributions,
        structure.random_walk,
        learning.paces,
        growth.rates_in_the_limit,
        growth.weights_in_the_limit,
        growth.covariances,
        growth.static_networks,
    ),
    figures=(
        figures.net_input,
        figures.rates_with_size,
        figures.initial_weights,
        figures.final_weights,
        figures.perturbation,
        figures.stimulus,
        figures.correlations,
        figures.stability,
        figures.distributions,
        figures.windows,
    ),
)
