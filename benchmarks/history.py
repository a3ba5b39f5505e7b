"""Results by commit, so that a regression shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.simulators import Result

FILE = Path(__file__).with_name("history.jsonl")

SLOWER = 1.1
"""A commit that takes so many times what those before it took has a regression."""

_BEFORE = 3
"""Of so many results before, the median counts: one that was disturbed neither hides a regression nor feigns one."""


@dataclass(frozen=True)
class Entry:
    """The results of one sitting.

    Parameters
    ----------
    commit : str
        With a + if the checkout differed from it.
    date : str
        When.
    cpu : str
        The machine's processor.
    results : list of Result
        Medians.
    """

    commit: str
    date: str
    cpu: str
    results: list[Result]


def entry_now(results: Sequence[Result], cpu: str) -> Entry:
    """Make the entry of this commit at this time."""
    changed = _git("status", "--porcelain", "-uno", "--", ":/", f":!{FILE.name}")     # but for the history itself
    commit = _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    return Entry(commit, datetime.now(UTC).isoformat(timespec="seconds"), cpu, list(results))


def append(entry: Entry, path: Path = FILE) -> None:
    """Add an entry to the history."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(entry)) + "\n")


def compare(workload: str, path: Path = FILE) -> Iterator[str]:
    """Tell what a workload took at each commit, on each processor and number of ranks, a line each.

    Parameters
    ----------
    workload : str
        Which.
    path : Path
        The history.

    Yields
    ------
    str
        A line, which names the factor where a commit is slower than those before it by more than `SLOWER`.
    """
    before: dict[tuple[str, int], list[float]] = {}
    for entry in _read(path):
        for result in entry.results:
            if (result.simulator, result.workload) != ("steelyard", workload):
                continue
            earlier, took_s = before.setdefault((entry.cpu, result.ranks), []), result.wall_s_per_bio_s
            factor = took_s / median(earlier[-_BEFORE:] or [took_s])
            earlier.append(took_s)
            verdict = f"  {factor:.2f} times slower" if factor > SLOWER else ""
            yield f"{entry.date[:16]}  {entry.commit:<11}  {entry.cpu}  {result.ranks} ranks  {took_s:.3f} s{verdict}"


def _read(path: Path) -> Iterator[Entry]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        entry: dict[str, Any] = json.loads(line)
        yield Entry(**entry | {"results": [Result(**result) for result in entry["results"]]})


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()
