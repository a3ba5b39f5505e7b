"""A run that does nothing, to see what is around it."""

from __future__ import annotations

from orchestration.attempt import Order
from orchestration.launcher import Engine
from orchestration.ledger import Ledger, State


def nothing(order: Order) -> None:
    claim = Ledger(order.directory).claim(order.member, order.after)
    if claim is None:
        return
    order.run_directory.mkdir(parents=True)
    with Engine(["true"], order.ranks) as engine:
        code = engine.wait(600)
    (order.run_directory / "run.h5").touch()
    claim.end(State.DONE, code=code)
