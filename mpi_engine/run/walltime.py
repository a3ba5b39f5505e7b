"""The time limit of a job: the clock decides when to stop, so that the last checkpoint is whole before the limit."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import time

import psutil

from mpi_engine.experiment import ExperimentError, Problem

RESERVE_S = 60.0
"""Time [s] that is left between the end of the last write and the limit, if nobody says otherwise."""

WRITES = ("checkpointing", "writing")
"""Phases that write, and must fit between a stop and the limit."""

_PATIENCE_S = 20.0
"""A batch system that has not answered after so long [s] is not waited for."""

_DURATION = re.compile(r"(?:(?:(?P<days>\d+)-)?(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+)")

log = logging.getLogger("steelyard")


class WallTime:
    """When a job has to be over, and from when on to stop for it.

    The time set aside for stopping is twice what the last checkpoint took, what the last flush took, and a reserve. It
    is never more than half of what is left at the first step, so that every attempt makes progress.

    Parameters
    ----------
    end : float
        The limit [s since 1970].
    reserve_s : float
        The reserve [s].
    """

    def __init__(self, end: float, reserve_s: float = RESERVE_S) -> None:
        self._end, self._reserve_s = end, reserve_s
        self._took = dict.fromkeys(WRITES, 0.0)
        self._first_step: float | None = None

    @classmethod
    def of_this_job(cls, limit_s: float | None, reserve_s: float = RESERVE_S) -> WallTime | None:
        """Find the limit of this process.

        Parameters
        ----------
        limit_s : float or None
            Time from the start of this process to the limit [s]; None asks the batch system.
        reserve_s : float
            See `WallTime`.

        Returns
        -------
        WallTime or None
            None without a limit.

        Raises
        ------
        ExperimentError
            If not even the reserve fits in the time that is left.
        """
        if limit_s is not None:
            check_limit(limit_s, reserve_s)
            return cls(psutil.Process().create_time() + limit_s, reserve_s)
        left_s = _left_of_batch_job()
        if left_s is None:
            return None
        if left_s <= reserve_s:
            job, left = os.environ["SLURM_JOB_ID"], f"{max(left_s, 0.0):.0f} s"
            remedy = f"are left of job {job}, and the reserve alone is {reserve_s:g} s; give the job more time, or "
            raise ExperimentError([Problem("time limit", left, f"{remedy}a smaller --reserve")], "command")
        return cls(time.time() + left_s, reserve_s)

    @property
    def left_s(self) -> float:
        """Time until the limit [s]."""
        return self._end - time.time()

    @property
    def margin_s(self) -> float:
        """Time before the limit [s] at which to stop."""
        margin_s = 2 * self._took["checkpointing"] + self._took["writing"] + self._reserve_s
        if self._first_step is None:
            return 0.0    # there is nothing to save yet
        return min(margin_s, max(self._end - self._first_step, 0.0) / 2)

    @property
    def is_up(self) -> bool:
        """Whether to stop now."""
        return self.left_s <= self.margin_s

    def begin(self) -> None:
        """Note that the first step is done next."""
        if self._first_step is None:
            self._first_step = time.time()

    def note_duration(self, write: str, seconds: float) -> None:
        """Note how long a phase of `WRITES` took."""
        self._took[write] = seconds


def parse_duration(text: str, option: str = "time limit") -> float:
    """Read a duration as people and batch systems write it: seconds, M:S, H:M:S or D-H:M:S.

    Returns
    -------
    float
        The duration [s].

    Raises
    ------
    ExperimentError
        If it is none; the option is named.
    """
    if found := _DURATION.fullmatch(text):
        days, hours, minutes, seconds = (int(found[part] or 0) for part in ("days", "hours", "minutes", "seconds"))
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if re.fullmatch(r"\d+(\.\d*)?", text):
        return float(text)
    remedy = "is no duration; give seconds, or hours, minutes and seconds as in 1:30:00"
    raise ExperimentError([Problem(option, text, remedy)], "command")


def check_limit(limit_s: float, reserve_s: float) -> None:
    """Refuse a limit that leaves no time to run.

    Raises
    ------
    ExperimentError
        If it is not longer than the reserve.
    """
    if limit_s <= reserve_s:
        remedy = f"is not longer than the reserve of {reserve_s:g} s; give more time, or a smaller --reserve"
        raise ExperimentError([Problem("--max-walltime", f"{limit_s:g}", remedy)], "command")


def _left_of_batch_job() -> float | None:
    """Ask SLURM how much time [s] is left of the job that this is in; None outside of one, or without a limit."""
    job, end = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_END_TIME", "")
    if job is None:
        return None
    if end.isdigit():
        return float(end) - time.time()
    try:
        asked = subprocess.run(["squeue", "-h", "-j", job, "-o", "%L"], capture_output=True, text=True, check=True,
                               timeout=_PATIENCE_S)
        left = asked.stdout.split()[0]
        return None if left in ("UNLIMITED", "NOT_SET") else parse_duration(left)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        log.warning("the time limit of job %s is not known (%s); give it with --max-walltime", job, error)
        return None
