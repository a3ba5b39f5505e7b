"""Files in; numbers, pictures and verdicts out."""

from analysis.runs import Run, open_run
from analysis.sweeps import Sweep, open_sweep

__all__ = ["Run", "Sweep", "open_run", "open_sweep"]
