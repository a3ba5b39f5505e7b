"""How far a sweep has come: the runs in each state, their rate, and what a person sees of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestration.ledger import UNTRIED, Entry, State
from orchestration.progress import clock
from orchestration.sweep import Sweep

ORDER = (State.DONE, State.RUNNING, State.STOPPED, State.FAILED, State.PENDING)
"""In which states are told."""

STOP_WORDS = (
    "stopping at checkpoints; once more ends all runs at once",
    "ending all runs; once more kills them",
    "killing all runs",
)
"""What each request to stop does."""


class Tally:
    """Counts the runs of a sweep.

    Parameters
    ----------
    sweep : Sweep
        What is run.
    entries : mapping of str to Entry
        What the ledger knows, by id; may change at any time.
    """

    def __init__(self, sweep: Sweep, entries: Mapping[str, Entry]) -> None:
        self._sweep = sweep
        self._entries = entries
        self.requests = 0
        self.last_error = ""
        self.begin()

    def begin(self) -> None:
        """Measure the rate from now on."""
        self._began, self._done_before = time.monotonic(), self.counts[State.DONE]

    @property
    def counts(self) -> Counter[State]:
        """Number of runs in each state."""
        return Counter(self._entries.get(member.id, UNTRIED).state for member in self._sweep.members)

    def list_unfinished(self) -> list[str]:
        """Say of each run that has failed or stopped why, a line each."""
        lines = []
        for member in self._sweep.members:
            entry = self._entries.get(member.id, UNTRIED)
            if entry.state in (State.FAILED, State.STOPPED):
                lines.append(f"{entry.state}: {member}: {entry.reason}")
        return lines

    def __str__(self) -> str:
        """Tell the counts, the rate and the remaining time, in a line."""
        counts = self.counts
        told = ", ".join(f"{counts[state]} {state}" for state in ORDER)
        return "; ".join([told, *self._pace(counts)])

    def picture(self, dashboard: str) -> RenderableType:
        """Draw a bar, the counts, the pace, the last error and the dashboard's address."""
        counts = self.counts
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(ratio=1)
        bar.add_row(ProgressBar(total=max(1, counts.total()), completed=counts[State.DONE]), *self._pace(counts))
        states = Table(*ORDER, box=None, padding=(0, 3, 0, 0))
        states.add_row(*(str(counts[state]) for state in ORDER))
        notes = [Text(f"dashboard {dashboard}", style="dim")]
        notes += [Text(f"last error: {self.last_error}", style="red")] * bool(self.last_error)
        notes += [Text(STOP_WORDS[min(self.requests, len(STOP_WORDS)) - 1])] * (self.requests > 0)
        return Group(bar, states, *notes)

    def _pace(self, counts: Counter[State]) -> list[str]:
        done = counts[State.DONE] - self._done_before
        if done < 1:
            return []
        pace_s = (time.monotonic() - self._began) / done
        left = counts[State.RUNNING] + counts[State.PENDING] + counts[State.STOPPED]
        return [f"{3600 / pace_s:.3g} runs/h, {clock(left * pace_s)} left"]
