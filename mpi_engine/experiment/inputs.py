"""Inputs from outside the network: spike trains, currents and noise."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, PositiveInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part, Selection
from mpi_engine.experiment.formula import NumberOrFormula, Rate


def _hexadecimal(digest: str) -> str:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("is not a SHA-256; leave it out, and it is computed from the file")
    return digest


Digest = Annotated[str, AfterValidator(_hexadecimal)]
"""The SHA-256 of a data file's content, in hexadecimal."""


class Poisson(Part):
    """A population of Poisson spike trains, correlated through a common mother process if wished.

    With a correlation c > 0, each train keeps every spike of a mother process of rate ``rate_hz / c`` with
    probability c and shifts it by a Gaussian of standard deviation ``jitter_ms``, cut at six of them (Akil et al.
    2021, Methods): the pairwise count correlation is c in windows much longer than the jitter. A rate that changes is
    that of the mother process, so the jitter smooths it.

    Parameters
    ----------
    size : int
        Number of trains.
    rate_hz : float or str, optional
        Rate of each [Hz], or a formula of the time t [ms], whose value at the end of a step holds for the step.
    rate_file : str, optional
        Instead of it, a file of two columns, time_ms and rate_hz; linear between them.
    sha256 : str, optional
        Digest of the file's content; filled in when the experiment is read.
    correlation : float
        c, from 0 (independent trains) to 1.
    jitter_ms : float
        Standard deviation of the jitter [ms].
    """

    kind: Literal["poisson"]
    size: PositiveInt
    rate_hz: Rate | None = None
    rate_file: str | None = None
    sha256: Digest | None = None
    correlation: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0
    jitter_ms: Annotated[FiniteFloat, Field(ge=0, le=1000)] = 5.0

    data_key: ClassVar[str] = "rate_file"

    @property
    def data_file(self) -> str | None:
        """Path of the data file, if there is one."""
        return self.rate_file

    @property
    def constant_rate_hz(self) -> float | None:
        """The rate, if it does not change [Hz]."""
        return None if isinstance(self.rate_hz, str) else self.rate_hz

    @model_validator(mode="after")
    def _has_one_rate(self) -> Self:
        if (self.rate_hz is None) == (self.rate_file is None):
            raise ValueError("give either rate_hz or rate_file")
        return self

    @model_validator(mode="after")
    def _mother_process_is_not_endless(self) -> Self:
        if 0 < self.correlation < 1e-5:
            raise ValueError(
                f"correlation = {self.correlation:g} needs a mother process of {1 / self.correlation:.3g} times the "
                "rate; set it to 0, from which it cannot be told"
            )
        return self


class Recorded(Part):
    """A population of spike trains from a SONATA spikes file, such as the ``run.h5`` of another run.

    A spike at time t acts in the first step that ends at t or later, one at 0 in the first step of all; several of one
    source in one step are kept. What lies after the end of the run is left out.

    Parameters
    ----------
    file : str
        An HDF5 file with ``/spikes/<population>/timestamps`` [ms] and ``node_ids``.
    sha256 : str, optional
        Digest of its content; filled in when the experiment is read.
    population : str, optional
        Name of the population in the file; may be left out if there is one only.
    size : int, optional
        Number of trains; as many as the largest id asks for, if not given.
    """

    kind: Literal["recorded"]
    file: str
    sha256: Digest | None = None
    population: str | None = None
    size: PositiveInt | None = None

    data_key: ClassVar[str] = "file"

    @property
    def data_file(self) -> str:
        """Path of the data file."""
        return self.file


class Injected(Part):
    """What all injected currents share: divided by the membrane capacitance, into some neurons, for some time.

    Parameters
    ----------
    target : str
        Name of a population or subpopulation.
    start_ms, stop_ms : float
        When it acts [ms]: in steps with start < t <= stop; to the end if ``stop_ms`` is not given.
    """

    target: str
    start_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    stop_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _stops_after_it_starts(self) -> Self:
        if self.stop_ms is not None and self.stop_ms <= self.start_ms:
            raise ValueError(
                f"stop_ms = {self.stop_ms:g} is not after start_ms = {self.start_ms:g}: the current never acts; "
                "raise stop_ms"
            )
        return self


class Current(Injected, Selection):
    """A current that is constant, a ramp, or a formula of time, the same into each of its neurons.

    Parameters
    ----------
    amplitude_mv_per_ms : float or str
        The current [mV/ms], or a formula of the time t [ms], whose value at the end of a step holds for the step.
    ramp_to_mv_per_ms : float, optional
        The current at ``stop_ms`` [mV/ms], to which it goes linearly from the amplitude at ``start_ms``.
    **others
        See `Injected`, and `Selection` for its neurons within the target.
    """

    kind: Literal["current"]
    amplitude_mv_per_ms: NumberOrFormula
    ramp_to_mv_per_ms: FiniteFloat | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the current is the same as long as it acts."""
        return self.ramp_to_mv_per_ms is None and not isinstance(self.amplitude_mv_per_ms, str)

    @model_validator(mode="after")
    def _ramp_has_two_ends(self) -> Self:
        if self.ramp_to_mv_per_ms is None:
            return self
        if self.stop_ms is None:
            raise ValueError("ramp_to_mv_per_ms is the current at stop_ms; give stop_ms too")
        if isinstance(self.amplitude_mv_per_ms, str):
            raise ValueError("ramp_to_mv_per_ms begins at amplitude_mv_per_ms; give that as a number, not a formula")
        return self


class OrnsteinUhlenbeck(Injected):
    r"""A Gaussian current with an exponential autocorrelation into each neuron of the target.

    .. math:: \tau\,dI/dt = \mu - I + \sigma\sqrt{2\tau}\,(\sqrt{1 - c}\,\eta_i + \sqrt{c}\,\eta)

    with a white noise for each neuron and one that they share. It is stationary from its start on, and advanced by its
    exact solution; within a step it is constant.

    Parameters
    ----------
    mean_mv_per_ms, std_mv_per_ms : float
        Mean and standard deviation over time [mV/ms].
    tau_ms : float
        Time constant of the autocorrelation [ms].
    correlation : float
        c, the correlation of any two neurons' currents: the fraction of their variance that is shared.
    **others
        See `Injected`.
    """

    kind: Literal["ornstein_uhlenbeck"]
    mean_mv_per_ms: FiniteFloat = 0.0
    std_mv_per_ms: Annotated[FiniteFloat, Field(ge=0)]
    tau_ms: Milliseconds
    correlation: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0


Input = Annotated[Poisson | Recorded | Current | OrnsteinUhlenbeck, Field(discriminator="kind")]
"""Any input."""
