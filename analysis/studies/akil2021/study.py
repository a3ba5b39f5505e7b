"""The study of Akil, Rosenbaum & Josić (2021): plasticity in balanced networks with correlated input."""

from analysis.studies.akil2021 import balance, courses, drift, figures, growth, learning, manifold, stability, structure
from analysis.studies.study import Study

STUDY = Study(
    title="Plasticity in balanced networks with correlated input",
    paper="Akil, Rosenbaum & Josić, Balanced networks under spike-time dependent plasticity, "
    "PLoS Computational Biology 17:e1008958 (2021)",
    claims=(
        balance.attained,
        balance.from_unbalanced_starts,
        balance.through_a_stimulus,
        balance.correlations_in_a_stimulus,
        drift.of_the_general_form,
        drift.of_each_rule,
        manifold.converged,
        manifold.traded,
        manifold.predicted,
        manifold.perturbed,
        manifold.unique,
        learning.weights_under_correlations,
        learning.soft_weights_under_correlations,
        stability.limit_of_kohonen,
        stability.below_theory,
        stability.without_bounds,
        stability.limit_of_inhibition,
        structure.weight_against_rate,
        structure.weight_against_degree,
        structure.distributions,
        structure.at_the_largest,
        structure.random_walk,
        learning.paces,
        growth.rates_in_the_limit,
        growth.weights_in_the_limit,
        growth.targets,
        growth.covariances,
        growth.static_networks,
    ),
    figures=(
        courses.activity,
        courses.currents,
        figures.net_input,
        figures.rates_with_size,
        figures.weights_with_size,
        figures.covariances_with_size,
        figures.static_networks,
        courses.initial_weights,
        figures.final_weights,
        courses.perturbation,
        courses.stimulus,
        figures.correlations,
        courses.one_fixed_point,
        figures.stability,
        courses.random_walks,
        courses.both_inhibitions,
        figures.paces,
        figures.distributions,
        figures.inhibitory_weights,
        figures.rate_distributions,
        figures.windows,
    ),
    chosen="Chosen with the runs from seeds 1 to 4 of the quick scale in view: sizes, durations and learning rates; "
    "to hold the mean weight equation also as an average over synapses, which is where soft, Oja's and Kohonen's "
    "rules agree with it; the mean of the soft rule's weights beside their median; the variance that weights of the "
    "classical rule gain after 2 s beside the variance; the time constant of E's rate beside that of the mean weight; "
    "what the reach of a caveat is derived from. Runs from seeds 101 to 104 contradicted no claim. With these in view "
    "was chosen: the bound on the exponent of the time until the classical rule runs away. With one run of each from "
    "seed 201: learning rates and initial weights of the classical rule without bounds and of rules from E to I, the "
    "tenth by which the weights of the latter may miss the prediction, and the bound on net input that comes in "
    "bursts. With seeds 1 to 3: that neurons share theory's covariance as they do its rates, in the time that soft "
    "weights take, and for how long slow inhibition of E is simulated; runs of both from seeds 101 to 103 contradicted "
    "no claim.",
)
