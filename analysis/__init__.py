"""Files in; numbers, pictures and verdicts out."""

from mpi_engine.output.reader import open_run

__all__ = ["open_run"]
