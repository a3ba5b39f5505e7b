"""An ensemble: the runs of a sweep, driven through a Dask client until each is done or has failed."""

from __future__ import annotations

import os
import queue
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

from distributed import Client, Future
from distributed.client import ClosedClientError

from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.output.checkpoints import last_checkpoint
from orchestration.attempt import EnginesEnd, Order, attempt
from orchestration.cluster import RESOURCE, runs_at_once
from orchestration.engine import Outcome, answered_signals
from orchestration.ledger import UNTRIED, Entry, Ledger, State
from orchestration.sweep import Member, Sweep
from orchestration.tally import STOP_WORDS, Tally

MOST_RETRIES = 3
"""So often in a row a run is attempted again that has stopped no further than it was."""

_FEWEST_WAITING = 16
_LOOK_S = 0.5

_GONE = Problem("--on", "", "the scheduler is gone; start another, and run the sweep again")

Show = Callable[[Tally], None]


@dataclass(frozen=True)
class _Flight:
    """A task for an attempt at a run."""

    member: Member
    future: Future[None]


class Ensemble:
    """Drives a sweep.

    Parameters
    ----------
    sweep : Sweep
        What is run.
    client : Client
        Whose workers run it: see `orchestration.cluster`.
    task : callable
        What a worker does with an order.
    """

    def __init__(self, sweep: Sweep, client: Client, task: Callable[[Order], None] = attempt) -> None:
        self._sweep = sweep
        self._client = client
        self._task = task
        self._ledger = Ledger(sweep.directory)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        self._cancellation = self._ledger.last_cancellation()
        self._entries: dict[str, Entry] = {}
        self._tally = Tally(sweep, self._entries)
        self._waiting: deque[Member] = deque()
        self._in_flight: dict[str, _Flight] = {}
        self._elsewhere: dict[str, Member] = {}
        self._steps: dict[str, int] = {}     # of the last checkpoint before an attempt
        self._retries: Counter[str] = Counter()
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._numbers = count()
        self._at_once = 0
        self._requests = 0

    def run(self, show: Show, retry: bool = False) -> Tally:
        """Run what is not done, and return when nothing of it goes any more.

        Done runs are left alone, stopped ones go on from their checkpoints, and those of other drivers are waited for.
        The first signal lets the runs stop at checkpoints, the next ones end them.

        Parameters
        ----------
        show : callable
            Gets the state of things from time to time, and at the end.
        retry : bool
            Whether failed runs are attempted again.

        Returns
        -------
        Tally
        """
        self._client.register_plugin(EnginesEnd())
        self._entries |= self._ledger.survey()
        tally = self._tally
        tally.begin()
        for member in self._sweep.members:
            self._sort(member, retry)
        next_look = 0.0
        try:
            with answered_signals(self._count_request):
                while self._goes_on():
                    if time.monotonic() >= next_look:
                        self._look()
                        show(tally)
                        next_look = time.monotonic() + _LOOK_S
                    self._submit()
                    self._settle_ended()
        except ClosedClientError:
            raise ExperimentError([_GONE], "command") from None
        finally:
            self._ledger.ask_to_stop(self._name, 0)
        show(tally)
        return tally

    def _goes_on(self) -> bool:
        if self._requests > len(STOP_WORDS):
            return False
        return bool(self._in_flight or ((self._waiting or self._elsewhere) and not self._requests))

    def _look(self) -> None:
        """See how things stand outside: the workers, the runs in flight, those of other drivers, requests to stop."""
        if self._client.status == "closed":
            raise ExperimentError([_GONE], "command")
        if self._ledger.last_cancellation() != self._cancellation:
            self._requests = max(self._requests, 1)
        if self._requests != self._tally.requests:
            self._tally.requests = self._requests
            self._ledger.ask_to_stop(self._name, self._requests)
        self._at_once = runs_at_once(self._client, self._sweep.ranks)
        for ident in self._in_flight:
            self._entries[ident] = self._ledger.read(ident)
        for ident, member in list(self._elsewhere.items()):
            entry = self._ledger.read(ident)
            if entry.state != State.RUNNING:
                del self._elsewhere[ident]
                self._judge(member, entry)

    def _sort(self, member: Member, retry: bool = False) -> None:
        """Decide what to do with a run from what the ledger says of it."""
        state = self._entries.get(member.id, UNTRIED).state
        if state == State.RUNNING:
            self._elsewhere[member.id] = member
            self._steps.setdefault(member.id, self._step(member))
        elif state in (State.PENDING, State.STOPPED) or (state == State.FAILED and retry):
            self._waiting.append(member)

    def _submit(self) -> None:
        """Keep the workers busy, with few tasks waiting, however many runs there are."""
        while self._waiting and not self._requests and len(self._in_flight) < max(_FEWEST_WAITING, 2 * self._at_once):
            member = self._waiting.popleft()
            try:
                order = self._order(member)
            except ExperimentError as error:
                self._note(member, Entry(State.FAILED, 0, str(error)))
                continue
            key = ("attempt", member.id, self._name, next(self._numbers))    # a tuple: for Dask all are of one kind
            self._steps[member.id] = self._step(member)
            future = self._client.submit(self._task, order, key=key, resources={RESOURCE: order.ranks}, pure=False)
            self._in_flight[member.id] = _Flight(member, future)
            future.add_done_callback(lambda _, ended=member.id: self._ended.put(ended))

    def _order(self, member: Member) -> Order:
        after = self._entries.get(member.id, UNTRIED).attempt
        return Order.of(self._sweep, member, after, self._name, self._cancellation)

    def _settle_ended(self) -> None:
        """Wait a little for tasks to end, and see to all that have."""
        with suppress(queue.Empty):
            self._settle(self._ended.get(timeout=_LOOK_S))
            while True:
                self._settle(self._ended.get_nowait())

    def _settle(self, ident: str) -> None:
        """See what has become of a run whose task has ended."""
        flight = self._in_flight.pop(ident)
        member, future = flight.member, flight.future
        entry = self._ledger.read(ident)
        if entry.state == State.PENDING and not self._requests:    # not even the ledger was written
            reason = str(future.exception()) if future.status == "error" else "its worker did not begin"
            entry = replace(entry, state=State.STOPPED, reason=reason)
        self._judge(member, entry)

    def _judge(self, member: Member, entry: Entry) -> None:
        """Have a run attempted again if it was not its fault that it has stopped, but not for ever."""
        self._note(member, entry)
        if entry.state == State.STOPPED:
            came_further = self._step(member) > self._steps.pop(member.id)
            self._retries[member.id] = 0 if came_further else self._retries[member.id] + 1
        if self._retries[member.id] <= MOST_RETRIES:
            self._sort(member)

    def _step(self, member: Member) -> int:
        return last_checkpoint(self._sweep.run_directory(member))

    def _note(self, member: Member, entry: Entry) -> None:
        self._entries[member.id] = entry
        if entry.state == State.FAILED or (entry.state == State.STOPPED and entry.code != Outcome.STOPPED):
            self._tally.last_error = f"{member}: {entry.reason}"

    def _count_request(self) -> None:
        self._requests += 1
