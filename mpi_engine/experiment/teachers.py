"""Teachers: the dynamics that a coding network learns."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat, model_validator

from mpi_engine import systems
from mpi_engine.experiment.base import Milliseconds, Part
from mpi_engine.experiment.user import UserPart
from mpi_engine.user import TeacherModel, UserError, arguments_of, try_teacher

Rate = Annotated[PositiveFloat, FiniteFloat]

AtLeastZero = Annotated[NonNegativeFloat, FiniteFloat]

State = Annotated[list[FiniteFloat], Field(min_length=1)]

Slope = Callable[[float, tuple[float, ...]], tuple[float, ...]]


class TeacherPart(Part):
    """What every teacher has.

    The network sees its state as (x - offset) / scale, of order one in each dimension.

    Parameters
    ----------
    offset, scale : list of float, length K, optional
        Chosen from a pilot run of the teacher if not given.
    """

    _OPTIONS: ClassVar[tuple[str, ...]] = ("kind", "initial_state", "offset", "scale")

    offset: State | None = None
    scale: Annotated[list[Rate], Field(min_length=1)] | None = None

    @property
    def n_dimensions(self) -> int:
        """K."""
        raise NotImplementedError

    @property
    def slope(self) -> Slope | None:
        """Function of the time [s] and the state that gives dx/dt [1/s], in plain Python; None if f is not known."""
        return None

    @model_validator(mode="after")
    def _offset_and_scale_fit(self) -> Self:
        for key in ("offset", "scale"):
            given = getattr(self, key)
            if given is not None and len(given) != self.n_dimensions:
                raise ValueError(f"{key} = {given}: give {self.n_dimensions} numbers, one for each dimension")
        return self


class FlowPart(TeacherPart):
    """A teacher whose f is known.

    Parameters
    ----------
    initial_state : list of float, length K
        Where it begins, in its own units.
    """

    initial_state: State

    @property
    def n_dimensions(self) -> int:
        """K."""
        return len(self.initial_state)

    @property
    def flow(self) -> Callable[..., Any]:
        """Function of ``x``, ``t`` and ``p`` or some of these that gives dx/dt [1/s]."""
        flow: Callable[..., Any] = getattr(systems, self.kind)  # type: ignore[attr-defined]
        return flow

    @property
    def constants(self) -> dict[str, float]:
        """Values of ``p``."""
        return {name: float(getattr(self, name)) for name in type(self).model_fields if name not in self._OPTIONS}

    @property
    def slope(self) -> Slope:
        """See `TeacherPart.slope`."""
        function, p = self.flow, SimpleNamespace(**self.constants)
        names = arguments_of(function)

        def slope(t: float, x: tuple[float, ...]) -> tuple[float, ...]:
            known = {"x": x, "t": t, "p": p}
            values = function(*(known[name] for name in names))
            return values if isinstance(values, tuple) else (values,)

        return slope

    @property
    def returns_tuple(self) -> bool:
        """Whether the function gives a tuple, which one of a single dimension need not."""
        known = {"x": tuple(self.initial_state), "t": 0.0, "p": SimpleNamespace(**self.constants)}
        return isinstance(self.flow(*(known[name] for name in arguments_of(self.flow))), tuple)


Plane = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class Oscillator(FlowPart):
    """A damped harmonic oscillator.

    Parameters
    ----------
    frequency_hz : float
        Of the oscillation [Hz].
    damping_per_s : float
        Rate at which its amplitude decays [1/s].
    """

    kind: Literal["oscillator"]
    frequency_hz: Rate = 1.0
    damping_per_s: AtLeastZero = 0.5
    initial_state: Plane = [1.0, 0.0]


class LimitCycle(FlowPart):
    """A circle of radius 1 that attracts: the normal form of a Hopf bifurcation.

    Parameters
    ----------
    frequency_hz : float
        Of the oscillation [Hz].
    attraction_per_s : float
        Half the rate at which a small deviation from the circle decays [1/s].
    """

    kind: Literal["limit_cycle"]
    frequency_hz: Rate = 1.0
    attraction_per_s: Rate = 4.0
    initial_state: Plane = [1.0, 0.0]


class VanDerPol(FlowPart):
    """The oscillator of van der Pol.

    Parameters
    ----------
    frequency_hz : float
        Without nonlinearity [Hz].
    nonlinearity : float
        Of the damping.
    """

    kind: Literal["van_der_pol"]
    frequency_hz: Rate = 1.0
    nonlinearity: AtLeastZero = 1.0
    initial_state: Plane = [2.0, 0.0]


class Pendulum(FlowPart):
    """A damped pendulum: angle, and angular velocity over the frequency of small swings.

    Parameters
    ----------
    frequency_hz : float
        Of small swings [Hz].
    damping_per_s : float
        Rate at which the velocity decays [1/s].
    """

    kind: Literal["pendulum"]
    frequency_hz: Rate = 1.0
    damping_per_s: AtLeastZero = 0.5
    initial_state: Plane = [2.0, 0.0]


class Bistable(FlowPart):
    """dx/dt = rate x (1 - x^2).

    Parameters
    ----------
    rate_per_s : float
        Half the rate at which a small deviation from a stable state decays [1/s].
    """

    kind: Literal["bistable"]
    rate_per_s: Rate = 4.0
    initial_state: Annotated[list[FiniteFloat], Field(min_length=1, max_length=1)] = [1.0]
    offset: State | None = [0.0]
    scale: Annotated[list[Rate], Field(min_length=1)] | None = [1.0]


class Lorenz(FlowPart):
    """The system of Lorenz, in units of 20 about the middle of its attractor, if not told otherwise.

    Parameters
    ----------
    sigma, rho, beta : float
        As in the equations.
    """

    kind: Literal["lorenz"]
    sigma: Rate = 10.0
    rho: Rate = 28.0
    beta: Rate = 8 / 3
    initial_state: Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)] = [-5.0, -6.0, 22.0]
    offset: State | None = [0.0, 0.0, 25.0]
    scale: Annotated[list[Rate], Field(min_length=1)] | None = [20.0, 20.0, 20.0]


class UserTeacher(FlowPart, UserPart):
    """A function of a user's file; see `mpi_engine.user.teacher`.

    Parameters
    ----------
    file, function, source
        See `UserPart`.
    parameters : dict
        Values of the declared parameters, where they are not the default ones.
    """

    kind_of_declaration = TeacherModel

    kind: Literal["user"]
    parameters: dict[str, FiniteFloat] = {}

    @model_validator(mode="after")
    def _gives_slopes(self) -> Self:
        try:
            try_teacher(self.declaration, self.file, self.parameters, self.initial_state)
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def flow(self) -> Callable[..., Any]:
        """See `FlowPart.flow`."""
        flow: Callable[..., Any] = self.declaration.function
        return flow

    @property
    def constants(self) -> dict[str, float]:
        """See `FlowPart.constants`."""
        return {name: float(value) for name, value in self.parameters.items()}


class RecordedTeacher(TeacherPart):
    """A recorded trajectory; f is not known.

    Learning needs the trajectory alone. As it cannot feel an input, this reaches the network alone, which learns to
    reject it, so that the trajectory attracts.

    Parameters
    ----------
    file : str
        Text with a header of names and a column for each, separated by commas or blanks; relative to the experiment's.
    columns : list of str
        Which of them are the dimensions of the state.
    interval_ms : float
        Time between samples [ms].
    repeats : bool
        Whether it begins anew after its end; otherwise it stays there.
    sha256 : str
        Digest of the file; filled in.
    """

    kind: Literal["recorded"]
    file: str
    columns: Annotated[list[str], Field(min_length=1)]
    interval_ms: Milliseconds
    repeats: bool = False
    sha256: str | None = None

    @property
    def n_dimensions(self) -> int:
        """K."""
        return len(self.columns)


Flow = Oscillator | LimitCycle | VanDerPol | Pendulum | Bistable | Lorenz | UserTeacher

Teacher = Annotated[Flow | RecordedTeacher, Field(discriminator="kind")]
"""Any teacher."""
