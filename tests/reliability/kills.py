"""End runs of one rank at random moments by a signal, and resume them each time, until they have finished.

python -m tests.reliability.kills EXPERIMENT DIRECTORY SIGNAL TIMES SEED: every attempt is a process of its own, forked
from this one after everything is compiled, and gets the signal within the time that an uninterrupted run takes. A run
that has finished is compared with the uninterrupted one, and the next begins. There are as many ends as asked for, and
more until SIGKILL has left a file half written, or another signal has stopped a run. Prints how many attempts were
killed, how many of these left a file half written, and how many stopped by themselves with a checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.difference import differences
from mpi_engine.run.job import resume, run

DONE, BUG, STOPPED = 0, 70, 75


def fork(experiment: Experiment, directory: Path) -> int:
    """Begin a run, or go on with it, in a process of its own."""
    process = os.fork()
    if process == 0:
        code = BUG
        try:
            begun = (directory / "experiment.toml").exists()
            path = resume(directory) if begun else run(experiment, directory)
            code = STOPPED if path is None else DONE
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return process


def end(process: int, number: int, after_s: float) -> str:
    """Send a signal to an attempt after a time, and say how it ended."""
    time.sleep(after_s)
    os.kill(process, number)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    assert os.WEXITSTATUS(status) in (DONE, STOPPED), "an attempt failed"
    return "done" if os.WEXITSTATUS(status) == DONE else "stopped"


def main(experiment: Experiment, directory: Path, number: int, times: int, seed: int) -> None:
    rng, runs, ends = np.random.default_rng(seed), 0, Counter[str]()
    run(experiment, directory / "uninterrupted")
    begin = time.monotonic()
    run(experiment, directory / "warm")
    longest_s = time.monotonic() - begin
    wanted = "partial" if number == signal.SIGKILL else "stopped"

    def enough() -> bool:
        return ends["killed"] + ends["stopped"] >= times and ends[wanted] > 0

    while not enough():
        runs += 1
        attempted = directory / f"{runs}"
        while not enough():
            ended = end(fork(experiment, attempted), number, rng.uniform(0.0, longest_s))
            if ended == "done":
                break
            ends[ended] += 1
            ends["partial"] += bool([*attempted.glob("*.partial"), *attempted.glob("*/*.partial")])
        _, status = os.waitpid(fork(experiment, attempted), 0)
        assert status == DONE, "the last attempt failed"
        assert differences(directory / "uninterrupted", attempted) == []
    print(ends["killed"], ends["partial"], ends["stopped"])


if __name__ == "__main__":
    _, file, directory, name, times, seed = sys.argv
    main(load_experiment(file), Path(directory), signal.Signals[name], int(times), int(seed))
