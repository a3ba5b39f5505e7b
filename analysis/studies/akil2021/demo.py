"""Two runs of one plastic network from different initial weights: same rates, same input, other weights.

Homeostatic plasticity of inhibition fixes what each excitatory neuron receives, one equation for a hundred weights:
the weights end on a manifold, and where on it depends on where they began (Akil, Rosenbaum & Josić 2021).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis import open_run
from analysis.comparison import FINEST, compare
from analysis.findings import Findings
from analysis.report import report
from analysis.verdict import MINUS, Estimate, Line, Range, as_table, summary
from mpi_engine.output.reader import RunError, RunReader

PROJECTION = "I_to_E"
TITLE = "One target, many weights: homeostatic inhibition in a correlated balanced network"


def manifold(runs: Sequence[RunReader]) -> list[Line]:
    """Lay the end of two runs from different initial weights beside what a manifold of fixed points predicts.

    Parameters
    ----------
    runs : sequence of RunReader
        Two runs that differ in the initial weight of the plastic projection.

    Returns
    -------
    list of Line
        The rate-weighted mean weight, which agrees; the mean weight, which does not.
    """
    first, second = (Findings(run) for run in runs)
    started = [run.experiment.named_weight(PROJECTION) for run in runs]
    felt = [f.felt_weight(PROJECTION) for f in (first, second)]
    ended = [f.mean_weight(PROJECTION).value for f in (first, second)]
    ratio = felt[1].value / felt[0].value
    order = 1 if started[1] > started[0] else -1
    group = "The manifold"
    return [
        Line(
            group,
            "⟨J r⟩/⟨r⟩, ratio",
            "",
            (Estimate(ratio),),
            (Range(1.0, 1.0, FINEST),),
            "the target rate fixes the weighted sum of each neuron's inhibitory weights, whatever the start",
            from_run=True,
        ),
        Line(
            group,
            "mean weight of I to E",
            "mV",
            tuple(Estimate(mean) for mean in ended),
            tuple(Range(min(j, f.value), max(j, f.value), 0.0) for j, f in zip(started, felt, strict=True)),
            "between its start and ⟨J r⟩/⟨r⟩: covariance of weight and rate makes up the rest",
            from_run=True,
        ),
        Line(
            group,
            "their difference",
            "mV",
            (Estimate(order * (ended[1] - ended[0])),),
            (Range(FINEST * abs(felt[0].value), order * (started[1] - started[0]), 0.0),),
            "apart, in the order of the starts: a manifold of fixed points, not one",
            from_run=True,
        ),
    ]


def main(run_dirs: Sequence[str | Path], out_html: str | Path) -> int:
    """Compare the two runs with theory, print the table and write the page.

    Parameters
    ----------
    run_dirs : sequence of path
        Two run directories that differ in the initial weight of I to E.
    out_html : path
        The page to write.

    Returns
    -------
    int
        Exit status: 0 if nothing differs from its prediction, 1 otherwise, 4 if a run cannot be read.
    """
    console = Console(highlight=False)
    try:
        runs = [open_run(path) for path in run_dirs]
        labels = [f"from {run.experiment.named_weight(PROJECTION):g}".replace("-", MINUS) for run in runs]
        lines = [*compare(runs), *manifold(runs)]
        page = report(runs, labels, lines, TITLE)
    except RunError as error:
        print(f"steelyard: {error}", file=sys.stderr)
        return 4
    Path(out_html).write_text(page, encoding="utf-8")
    console.print(as_table(lines, labels))
    console.print(f"\n{summary(lines)}\n{out_html}")
    return int(any(line.verdict == "differs" for line in lines))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m analysis.studies.akil2021.demo RUN_DIR RUN_DIR REPORT.html")
    sys.exit(main(sys.argv[1:3], sys.argv[3]))
