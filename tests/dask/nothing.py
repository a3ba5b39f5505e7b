"""Runs that do nothing, to see what is around them."""

from __future__ import annotations

import json
import os
import signal
import time

from orchestration.attempt import Order
from orchestration.engine import Engine
from orchestration.ledger import SILENT_S, Ledger, State


def nothing(order: Order) -> None:
    claim = Ledger(order.directory).claim(order.member, order.after)
    if claim is None:
        return
    order.run_directory.mkdir(parents=True)
    with Engine(["true"], order.ranks) as engine:
        code = engine.wait(600)
    (order.run_directory / "run.h5").touch()
    claim.end(State.DONE, code=code)


def killed_six_times(order: Order) -> None:
    """Write another checkpoint and be killed, as it were."""
    claim = Ledger(order.directory).claim(order.member, order.after)
    if claim is None:
        return
    checkpoints = order.run_directory / "checkpoint"
    checkpoints.mkdir(parents=True, exist_ok=True)
    if (step := len(list(checkpoints.iterdir()))) < 6:
        (checkpoints / f"{step:012d}.h5").touch()
        claim.end(State.STOPPED, "killed by SIGKILL", 128 + signal.SIGKILL)
        return
    (order.run_directory / "run.h5").touch()
    claim.end(State.DONE, code=0)


def lost_with_its_node(order: Order) -> None:
    """Claim a run on another host, as it were, which dies at once: nobody knows for a second. The seventh is done."""
    claim = Ledger(order.directory).claim(order.member, order.after)
    if claim is None:
        return
    if order.after == 6:
        order.run_directory.mkdir(parents=True)
        (order.run_directory / "run.h5").touch()
        claim.end(State.DONE, code=0)
        return
    [path] = order.directory.glob(f"ledger/{order.member}.{order.after + 1}.json")
    record = json.loads(path.read_text())
    record["holder"]["host"] = "a node that was lost"
    path.write_text(json.dumps(record))
    last_sign = time.time() - SILENT_S + 1.0
    os.utime(path, (last_sign, last_sign))
