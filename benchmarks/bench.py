"""The command: ``python -m benchmarks.bench run`` and ``history``; see `make bench`.

All simulators that take part in a workload take turns, so that what else happens on the machine meets all of them, and
of each number the median counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import history
from benchmarks.floor import Parts, measure
from benchmarks.simulators import PEERS, Result, Simulator, Steelyard, median
from benchmarks.workloads import FILES, Workload
from mpi_engine.output.provenance import cpu_model

DURATION_MS = 2000.0
"""Biological time of a workload, if no other is asked for; that of all results in the history."""

_CAPTION = (
    "Wall and CPU time are of the steps. steelyard: float32, all that the experiment records; Brian2 and NEST: one "
    "thread, float64, spikes recorded. Slower: than the first row, by wall time. Bytes/synapse: arrays that belong to "
    "synapses; Brian2's whole memory; what building adds to NEST's."
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = _parser().parse_args(words)
    if arguments.action == "history":
        print("\n".join(history.compare(arguments.workload)) or f"no results of {arguments.workload} yet")
        return 0
    if arguments.keep and (arguments.duration_ms, arguments.scale) != (DURATION_MS, 1.0):
        print("bench: --keep adds to the history what can be compared there; leave out --duration-ms and --scale",
              file=sys.stderr)
        return 2
    if missing := [name for name in arguments.peers if not PEERS[name].python().exists()]:
        print(f"bench: {PEERS[missing[0]].python()} is missing; `make bench` makes it, or leave {missing[0]} out of "
              "--peers", file=sys.stderr)
        return 2
    parts = measure()
    print("parts, ns:", ", ".join(f"{name} {ns:.3g}" for name, ns in asdict(parts).items()))
    results: list[Result] = []
    for name in arguments.workloads or FILES:
        workload = Workload(name, arguments.duration_ms, arguments.scale)
        with tempfile.TemporaryDirectory() as directory:
            results += _compare(workload, Path(directory), arguments, parts)
    lines = "".join(f"{result.line()}\n" for result in results)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(lines, encoding="utf-8")
    if arguments.keep:
        history.append(history.entry_now(results, cpu_model()))
    print(lines, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="measure, print a table, and a line of JSON for each result")
    run.add_argument("workloads", nargs="*", type=_workload, metavar="WORKLOAD",
                     help=f"of {', '.join(FILES)}; all if none is named")
    run.add_argument("--peers", nargs="*", default=[], choices=list(PEERS), help="other simulators that take part")
    run.add_argument("--ranks", nargs="+", type=_at_least_one, default=[1, 2],
                     help="numbers of ranks of this one (1 2)")
    run.add_argument("--repeats", type=_at_least_one, default=3, help="how often each takes its turn (3)")
    run.add_argument("--duration-ms", type=float, default=DURATION_MS,
                     help=f"biological time ({DURATION_MS:g})")
    run.add_argument("--scale", type=float, default=1.0, help="factor of all sizes (1)")
    run.add_argument("--output", type=Path, help="where the lines of JSON go, too")
    run.add_argument("--keep", action="store_true", help="add the results to the history")
    past = actions.add_parser("history", help="what a workload took at each commit")
    past.add_argument("workload", choices=list(FILES))
    return parser


def _workload(name: str) -> str:
    if name not in FILES:
        raise argparse.ArgumentTypeError(f"{name}: must be one of {', '.join(FILES)}")
    return name


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 1")
    return int(text)


def _compare(workload: Workload, directory: Path, arguments: argparse.Namespace, parts: Parts) -> list[Result]:
    """Let all simulators take their turns on a workload, and print how they compare."""
    entrants = list(_entrants(workload, directory, arguments))
    turns: list[list[Result]] = [[] for _ in entrants]
    for _ in range(arguments.repeats):
        for simulator, results in zip(entrants, turns, strict=True):
            results.append(simulator.simulate())
    medians = [median(results) for results in turns]
    rates_hz = next(simulator.rates_hz for simulator in entrants if isinstance(simulator, Steelyard))
    floors = {ranks: parts.floor(workload, rates_hz, ranks) for ranks in {result.ranks for result in medians}}
    bytes_per_synapse = [simulator.bytes_per_synapse() for simulator in entrants]
    Console(width=130).print(_table(workload, medians, bytes_per_synapse, floors))
    return medians


def _entrants(workload: Workload, directory: Path, arguments: argparse.Namespace) -> Iterator[Simulator]:
    for ranks in arguments.ranks:
        yield Steelyard(workload, directory, ranks)
    for name in arguments.peers:
        if PEERS[name].can(workload):
            own = directory / name
            own.mkdir()
            yield PEERS[name](workload, own)


def _table(workload: Workload, results: Sequence[Result], bytes_per_synapse: Sequence[float],
           floors: Mapping[int, float]) -> Table:
    title = f"{workload.name}: {workload.n_neurons:,} neurons, {workload.duration_s:g} s; floor " + ", ".join(
        f"{floor_s:.3f} s on {ranks} rank{'s' * (ranks > 1)}" for ranks, floor_s in sorted(floors.items()))
    table = Table(title=title, title_justify="left", caption=_CAPTION, caption_justify="left")
    columns = ("simulator", "ranks", "wall s/s", "CPU s/s", "x floor", "x slower", "Msynapses/s", "peak MB",
               "bytes/synapse", "rate Hz")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for r, size in zip(results, bytes_per_synapse, strict=True):
        built = f"{r.synapses / r.build_s / r.ranks * 1e-6:.1f}"
        slower = r.wall_s_per_bio_s / results[0].wall_s_per_bio_s
        table.add_row(
            r.simulator, str(r.ranks), f"{r.wall_s_per_bio_s:.3f}", f"{r.cpu_s_per_bio_s:.3f}",
            f"{r.wall_s_per_bio_s / floors[r.ranks]:.2f}", f"{slower:.2f}", built, f"{r.peak_mb:.0f}", f"{size:.2f}",
            f"{r.rate_hz:.2f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
