"""Teachers: the dynamics that a coding network learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveFloat

from mpi_engine.experiment.base import Part


class Oscillator(Part):
    """A damped harmonic oscillator of two dimensions.

    Parameters
    ----------
    frequency_hz : float
        Of the oscillation [Hz].
    damping_per_s : float
        Rate at which its amplitude decays [1/s].
    initial_state : list of float
        Where it begins.
    """

    kind: Literal["oscillator"]
    frequency_hz: Annotated[PositiveFloat, FiniteFloat] = 1.0
    damping_per_s: Annotated[FiniteFloat, Field(ge=0)] = 0.5
    initial_state: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)] = [1.0, 0.0]

    @property
    def n_dimensions(self) -> int:
        """K."""
        return 2


Teacher = Oscillator
"""Any teacher."""
