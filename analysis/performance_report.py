"""A page about the program's own scaling: ``python -m analysis.performance_report RUN... [EXPERIMENT.toml] -o PAGE``.

Runs of one experiment on different numbers of ranks differ in nothing that an experiment says, so that they are no
sweep; they are named one by one, and laid beside what costs of parts, measured apart from them, predict. The prediction
for more ranks is for the largest of them, or for another experiment in which populations of the same names fire at the
same rates.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analysis.page import Cell, Gallery, Row, Section, Table, Text, page, picture
from analysis.performance import (
    Timing,
    Work,
    breaks_first,
    measured_rates_hz,
    memory_mb,
    predict,
    timing_of,
)
from analysis.performance_costs import BANDWIDTH, FROM_MEMORY, UNITS, UNPACK_S, Cost, read_costs
from analysis.style import GREY, RUNS, canvas
from analysis.verdict import number
from mpi_engine.experiment import CodingExperiment, ExperimentError, load_experiment
from mpi_engine.output.integrity import reason_of
from mpi_engine.output.reader import RunError, open_run

RANKS = (1, 2, 10, 100, 1000, 10_000)

SHARED = ("rows", "steps", "latency", "volume")
"""Parts of a prediction that ranks do not divide."""

ASSUMPTIONS = (
    "This is a prediction from what units of work cost in other networks, on one core and on all of this machine at a "
    "time; nothing is fitted to the runs above. It assumes that work is shared out evenly and nobody waits for "
    "others; that a synapse with a weight or a delay of its own, if it does not learn, costs what others do, and a "
    "conductance what a current does; a latency that grows as the logarithm of the number of ranks; {bandwidth:g} GB/s "
    "for the messages that reach a rank and {unpack:g} ns for each population in each of them; and memory that is as "
    "fast for each of many ranks as it is on this machine. What is written to disk is not in it. Megabytes are those "
    "of arrays, of what is recorded in a segment and of messages; the program itself comes on top."
)


def performance_report(timings: Sequence[Timing], cost: Cost, target: Work, name: str, command: str = "") -> str:
    """Write a page of measured and predicted scaling.

    Parameters
    ----------
    timings : sequence of Timing
        Of runs, one at least.
    cost : Cost
        Of units of work.
    target : Work
        Of the network that the prediction is for.
    name, command : str
        What that network is called, and what made the page.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.
    """
    told = ASSUMPTIONS.format(bandwidth=1e-9 * BANDWIDTH, unpack=1e9 * UNPACK_S)
    size = f"{target.neurons:,.0f} neurons · {target.synapses:,.0f} synapses".replace(",", "\u202f")
    drawn = picture(draw(timings, cost, target, name), "Wall time and what it goes to; points are measured.")
    sections = [
        Section("Measured", [_measured(timings, cost)]),
        Section("Predicted", [Gallery([drawn], 1), _predicted(cost, target), Text([told])]),
        Section("Costs", [_costs(cost)]),
    ]
    return page(f"Scaling of {name}", sections, size, sentence(cost, target), command=command)


def sentence(cost: Cost, work: Work) -> str:
    """Say up to where more ranks pay, and what stands in the way of more."""
    ranks, limit = breaks_first(cost, work)
    return f"Predicted: below half of the ideal speed from {ranks} ranks on, for {limit}."


def _measured(timings: Sequence[Timing], cost: Cost) -> Table:
    rows = []
    for timing in sorted(timings, key=lambda t: (t.work.neurons, t.ranks)):
        predicted = sum(predict(cost, timing.work, timing.ranks).values())
        cells = [Cell(str(timing.ranks)), Cell(number(timing.total)), Cell(number(predicted))]
        cells += [Cell(_efficiency(timing, timings))]
        shares = [timing.seconds.get(part, 0.0) / timing.total for part in (*UNITS, "exchange")]
        cells += [Cell(f"{100 * share:.0f} %") for share in shares]
        rows.append(Row(timing.name, [*cells, Cell(f"{timing.peak_memory_mb:.0f}")]))
    columns = ("ranks", "wall s per s", "predicted", "efficiency", *UNITS, "exchange and wait", "most MB a rank")
    return Table(("run", *columns), rows)


def _efficiency(timing: Timing, timings: Sequence[Timing]) -> str:
    """Strong, against the fewest ranks of the same network; or weak, against as many neurons and synapses on each."""
    same = [t for t in timings if t.network == timing.network and t.ranks < timing.ranks]
    if same:
        base = min(same, key=lambda t: t.ranks)
        return f"{100 * base.total * base.ranks / timing.total / timing.ranks:.0f} %"
    like = [t for t in timings if t.ranks < timing.ranks and np.allclose(_load(t), _load(timing), rtol=0.01)]
    if like:
        return f"{100 * min(like, key=lambda t: t.ranks).total / timing.total:.0f} % (weak)"
    return "\u2013"


def _load(timing: Timing) -> tuple[float, float]:
    return timing.work.neurons / timing.ranks, timing.work.synapses / timing.ranks


def _predicted(cost: Cost, work: Work) -> Table:
    rows = []
    alone = sum(predict(cost, work, 1).values())
    for ranks in RANKS:
        seconds = predict(cost, work, ranks)
        total = sum(seconds.values())
        divided = sum(seconds[part] for part in UNITS)
        shares = [divided, *(seconds[name] for name in SHARED)]
        cells = [Cell(number(total)), Cell(number(alone / total)), Cell(f"{100 * alone / total / ranks:.0f} %")]
        cells += [Cell(f"{100 * share / total:.0f} %") for share in shares]
        rows.append(Row(f"{ranks:,}".replace(",", "\u202f"), [*cells, Cell(number(memory_mb(work, ranks)))]))
    return Table(("ranks", "wall s per s", "speed-up", "efficiency", "divided", *SHARED, "MB a rank"), rows)


def _costs(cost: Cost) -> Table:
    """Nanoseconds for a unit: by size, on one core of the machine and on all, rows in a cache and from memory."""
    rows: list[Row | str] = []
    points = [*cost.alone, *cost.together]
    for part, units in UNITS.items():
        rows.append(f"{part}: {1e9 * cost.step_s[part]:.0f} ns a step")
        for unit in units:
            rows.append(Row(unit, [Cell(number(1e9 * point.cached[unit])) for point in points]))
            if unit in FROM_MEMORY:
                cells = [Cell(number(1e9 * (point.cached[unit] + point.extra[unit]))) for point in points]
                rows.append(Row(f"{unit} from memory", cells))
    rows.append(f"exchange: {1e9 * cost.latency_s:.0f} ns a level")
    sizes = [[f"{1e-6 * point.neuron_bytes:.1f} MB, {cores}" for point in some]
             for cores, some in (("one core", cost.alone), ("all cores", cost.together))]
    return Table(("ns for each", *sizes[0], *sizes[1]), rows)


def draw(timings: Sequence[Timing], cost: Cost, work: Work, name: str) -> Figure:
    """Draw wall seconds a biological second against ranks: measured, predicted, ideal, and what does not shrink.

    Parameters
    ----------
    timings : sequence of Timing
        Runs; those of the predicted network are drawn.
    cost, work, name
        See `performance_report`.

    Returns
    -------
    Figure
    """
    ranks = [2**k for k in range(14)]
    predicted = [predict(cost, work, n) for n in ranks]
    alone = sum(predicted[0].values())
    with canvas(size=(7.2, 4.2)) as (figure, (panel,)):
        panel.plot(ranks, [alone / n for n in ranks], color=GREY, ls=(0, (1, 2)), label="ideal")
        panel.plot(ranks, [sum(seconds.values()) for seconds in predicted], color=RUNS[0], lw=2.4, label="predicted")
        for part, colour in zip(SHARED, RUNS[1:], strict=False):
            if any(values := [seconds[part] for seconds in predicted]):
                panel.plot(ranks, [value or float("nan") for value in values], color=colour, lw=1.2, label=part)
        shown = [t for t in timings if (t.work.neurons, t.work.synapses) == (work.neurons, work.synapses)]
        panel.plot([t.ranks for t in shown], [t.total for t in shown], "o", color=RUNS[0], ms=6, label="measured")
        panel.set(xscale="log", yscale="log", xlabel="ranks", ylabel="wall seconds per biological second")
        panel.set_ylim(0.5 * alone / ranks[-1], 2 * max(alone, *(t.total for t in timings)))
        panel.set_title(f"Time of {name}")
        figure.legend(frameon=False, loc="outside right center", fontsize=10)
    return figure


def main(arguments: Sequence[str]) -> int:
    """Write the page; exit code 2 or 4 with a line where something is wrong, as of `steelyard`."""
    parser = argparse.ArgumentParser(prog="python -m analysis.performance_report", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUN|EXPERIMENT.toml")
    parser.add_argument("--parts", type=Path, default=Path("build/parts.jsonl"), metavar="FILE",
                        help="what `python -m benchmarks.parts` measured (build/parts.jsonl)")
    parser.add_argument("-o", type=Path, default=Path("scaling.html"), metavar="PAGE", dest="output")
    options = parser.parse_args(arguments)
    described = [path for path in options.paths if path.suffix == ".toml"]
    if len(described) == len(options.paths) or len(described) > 1:
        parser.error("name at least one run, and at most one experiment to predict")
    try:
        cost = read_costs(options.parts)
        runs = [open_run(path) for path in options.paths if path not in described]
        timings = [timing_of(run) for run in runs]
        largest = max(timings, key=lambda timing: timing.work.synapses)
        target, name = largest.work, largest.name
        if described:
            experiment = load_experiment(described[0])
            if isinstance(experiment, CodingExperiment):
                raise RunError(f"{described[0]}: is of a coding network, which this model does not know; name another")
            rates = measured_rates_hz(runs[timings.index(largest)])
            if unknown := experiment.sizes.keys() - rates.keys():
                missing = ", ".join(sorted(unknown))
                raise RunError(f"{described[0]}: the rates of {missing} are in no run; name a run that has them")
            target, name = Work(experiment, rates), described[0].stem
        command = shlex.join(["python", "-m", "analysis.performance_report", *arguments])
        options.output.write_text(performance_report(timings, cost, target, name, command), encoding="utf-8")
    except RunError as error:
        print(f"steelyard: {error}", file=sys.stderr)
        return 4
    except ExperimentError as error:
        print(f"steelyard: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"steelyard: -o = {options.output}: cannot be written: {reason_of(error)}", file=sys.stderr)
        return 2
    print(sentence(cost, target))
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
