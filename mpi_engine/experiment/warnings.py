"""What can be run, but will probably not do what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from mpi_engine.experiment.experiment import Experiment
from mpi_engine.experiment.pairs import PairRule
from mpi_engine.experiment.problems import Problem


def find_warnings(experiment: Experiment) -> list[Problem]:
    """List what can be run but will probably not do what was meant.

    A change of weight smaller than half the spacing of its number format is lost in rounding: a learning rate can be
    too small for float32.
    """
    return list(_stalling_rates(experiment))


def _stalling_rates(e: Experiment) -> Iterator[Problem]:
    if e.run.weight_dtype == "float64":
        return
    for name, p in e.plastic.items():
        for rule_name in p.rules:
            rule = e.plasticity.get(rule_name)
            if isinstance(rule, PairRule):
                yield from _stalling_rate(e, name, rule_name, rule)


def _stalling_rate(e: Experiment, name: str, rule_name: str, rule: PairRule) -> Iterator[Problem]:
    half_spacing = 2.0**-24
    weight = e.initial_weight(name)
    pre, post = (tau * 0.005 for tau in rule.traces.values())    # of neurons at 5 Hz
    c = rule.coefficients(e.weight_scale(name), e.weight_unit(name))
    terms = [(c.a_pre, 1.0), (c.b_pre, post), (c.a_post, 1.0), (c.b_post, pre)]
    changes = [abs(term[0] + term[1] * weight) * x for term, x in terms if term != (0.0, 0.0)]
    changes = [change for change in changes if change > 0]
    if changes and min(changes) < 4 * half_spacing * abs(weight):
        rate = next((key for key in ("learning_rate", "learning_rate_mv") if hasattr(rule, key)), "rule")
        value = None if rate == "rule" else getattr(rule, rate)
        yield Problem(
            f"plasticity.{rule_name}.{rate}",
            "" if value is None else f"{value:g}",
            f"changes of about {min(changes):.1e} mV to weights of {weight:.3g} mV of projection {name} are lost "
            'in float32 rounding; set run.weight_dtype = "float64"',
        )
