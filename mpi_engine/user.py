"""A user's own neuron, synapse, plasticity rule or teacher: a Python function with declared state and parameters.

The function's arguments are asked for by name; what is not named is not computed. It is called as plain Python when an
experiment is read, to find mistakes, and compiled into the step when the experiment runs, with its constants in the
number format of the run. The built-in models are functions of the same kind.

A neuron
    may ask for ``V`` [mV], its state variables, ``I`` (all currents that act, over the capacitance, mV/ms) and ``p``,
    and returns the slopes of V and of each state variable;
a synapse
    for its state variables, ``arrived`` (the sum of the weights that arrive in this step), ``V``, ``dt`` [ms] and
    ``p``, and returns its state variables one step later, and the current that acts [mV/ms];
a rule
    for ``w`` (the weight as it acts), traces by their names, ``V`` of the target at a presynaptic spike and ``p``, and
    returns the weight after the spike;
a teacher
    for its state ``x`` (a tuple), the time ``t`` [s] and ``p``, and returns the slopes of its state [1/s].

``p`` holds the parameters. `exp` of this module is the engine's own: fast, and the same bits everywhere. A file stands
alone: it imports what is installed, and no file beside it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import keyword
import math
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

Function = Callable[..., Any]


@dataclass(frozen=True)
class Declaration:
    """What a user's file declares: a function with its parameters' default values."""

    function: Function
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NeuronModel(Declaration):
    """See `neuron`."""

    threshold: str = ""
    reset: Function = tuple
    state: Mapping[str, float] = field(default_factory=dict)
    decay: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SynapseModel(Declaration):
    """See `synapse`."""

    state: tuple[str, ...] = ()


@dataclass(frozen=True)
class TeacherModel(Declaration):
    """See `teacher`."""


@dataclass(frozen=True)
class RuleModel(Declaration):
    """See `rule`."""

    traces: Mapping[str, str] = field(default_factory=dict)
    on_post: Function | None = None


def neuron(
    *,
    parameters: Mapping[str, float],
    threshold: str,
    reset: Function,
    state: Mapping[str, float] | None = None,
    decay: Mapping[str, str] | None = None,
) -> Callable[[Function], NeuronModel]:
    """Declare a neuron model; the function gives the slopes of V [mV/ms] and of each state variable.

    Parameters
    ----------
    parameters : mapping of str to float
        Names and default values.
    threshold : str
        The parameter at which V counts as a spike [mV].
    reset : callable
        Gives V and each state variable after a spike.
    state : mapping of str to float, optional
        State variables beside V, with their initial values.
    decay : mapping of str to str, optional
        For V or a state variable, the parameter that is the rate of its linear decay [1/ms], which exponential Euler
        then integrates exactly.
    """
    rest = dict(parameters), threshold, reset, dict(state or {}), dict(decay or {})
    return lambda function: NeuronModel(function, *rest)


def synapse(*, parameters: Mapping[str, float], state: Sequence[str]) -> Callable[[Function], SynapseModel]:
    """Declare a synapse kind; the function gives its state one step later, from zero, and the current that acts.

    Parameters
    ----------
    parameters : mapping of str to float
        Names and default values.
    state : sequence of str
        State variables.
    """
    return lambda function: SynapseModel(function, dict(parameters), tuple(state))


def rule(
    *, parameters: Mapping[str, float], traces: Mapping[str, str] | None = None, on_post: Function | None = None
) -> Callable[[Function], RuleModel]:
    """Declare a plasticity rule; the function gives the weight after a presynaptic spike.

    Parameters
    ----------
    parameters : mapping of str to float
        Names and default values.
    traces : mapping of str to str, optional
        Traces, whose names end in ``_pre`` or ``_post``, each with the parameter that is its time constant [ms]. They
        jump by 1 at a spike of their side, and are seen as they were before the spikes of the step.
    on_post : callable, optional
        Gives the weight after a postsynaptic spike; it may see the traces of both sides, and not V, which is then at
        the threshold.
    """
    return lambda function: RuleModel(function, dict(parameters), dict(traces or {}), on_post)


def teacher(*, parameters: Mapping[str, float]) -> Callable[[Function], TeacherModel]:
    """Declare a teacher: what a coding network learns; the function gives dx/dt [1/s].

    Parameters
    ----------
    parameters : mapping of str to float
        Names and default values.
    """
    return lambda function: TeacherModel(function, dict(parameters))


def __getattr__(name: str) -> Any:
    if name == "exp":     # the engine's own, which is fast and gives the same bits everywhere
        from mpi_engine.network.mathematics import exp  # noqa: PLC0415
        return exp
    raise AttributeError(name)


class UserError(ValueError):
    """A mistake in a user's file, with file and line."""


def load(source: str, filename: str, name: str, real: type | None = None) -> Declaration:
    """Execute a user's file and return what it declares under a name.

    Parameters
    ----------
    source, filename : str
        The text, and where it came from.
    name : str
        Name of the decorated function.
    real : type, optional
        Number format of constants in functions that are to be compiled; those of Python if not given.

    Raises
    ------
    UserError
        If the file cannot be executed or declares no such function.
    """
    found = {key: value for key, value in _execute(source, filename, real).items() if isinstance(value, Declaration)}
    if name not in found:
        none = "it declares none, with @neuron, @synapse, @rule or @teacher"
        known = f"it declares {', '.join(found)}" if found else none
        raise UserError(f"{filename}: no function {name}; {known}")
    return found[name]


@functools.cache
def _execute(source: str, filename: str, real: type | None) -> dict[str, Any]:
    try:
        tree = ast.parse(source, filename)
        if real is not None:
            tree = ast.fix_missing_locations(_Constants().visit(tree))
        code: CodeType = compile(tree, filename, "exec")
    except SyntaxError as error:
        raise UserError(f"{filename}:{error.lineno}: {error.msg}") from None
    # a module of its own, named by all that it depends on: the compiler's cache asks for it by this name
    digest = hashlib.sha256(f"{real}\n{source}".encode()).hexdigest()[:16]
    module = ModuleType(f"user_{digest}")
    module.__dict__.update(__file__=filename, _real=real)
    try:
        exec(code, module.__dict__)
    except Exception as error:
        raise UserError(_locate(error, filename)) from None
    sys.modules[module.__name__] = module
    return module.__dict__


class _Constants(ast.NodeTransformer):
    """Puts the constants of arithmetic inside functions into the run's number format, which they would leave else."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [_InFunction().visit(statement) for statement in node.body]
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.body = _InFunction().visit(node.body)
        return node


class _InFunction(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _as_real(node) if isinstance(node.value, float) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        is_power = isinstance(node.op, ast.Pow)
        node.left = self._operand(node.left)
        node.right = self.visit(node.right) if is_power else self._operand(node.right)
        return node

    def _operand(self, node: ast.expr) -> Any:
        return _as_real(node) if isinstance(node, ast.Constant) and type(node.value) is int else self.visit(node)


def _as_real(node: ast.Constant) -> ast.expr:
    call = ast.Call(ast.Name("_real", ast.Load()), [ast.Constant(float(node.value))], [])  # type: ignore[arg-type]
    return ast.copy_location(call, node)


def _locate(error: Exception, filename: str) -> str:
    """Say what an exception says, with the line of the file at which it came up."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    place = f"{filename}:{lines[-1]}" if lines else filename
    return f"{place}: {type(error).__name__}: {error}"


def arguments_of(function: Function) -> list[str]:
    """List the names of a function's arguments."""
    return list(inspect.signature(function).parameters)


def try_neuron(model: NeuronModel, filename: str, parameters: Mapping[str, float], state: Mapping[str, float]) -> None:
    """Call a neuron's functions once at its reset, and raise UserError unless they return finite numbers."""
    _require_names(model, filename, model.state, ("V", "V_free", "I", "p", "held_until"))
    _require(model.threshold in parameters, model.function, filename, f"threshold {model.threshold!r} is no parameter")
    for variable, rate in model.decay.items():
        _require(rate in parameters and variable in ("V", *state), model.function, filename,
                 f"decay {{{variable!r}: {rate!r}}} must name V or a state variable, and a parameter")
    known = {"V": parameters[model.threshold] - 1.0, **state, "I": 0.0, "p": SimpleNamespace(**parameters)}
    for function, needs_current in ((model.reset, False), (model.function, True)):
        given = {name: value for name, value in known.items() if needs_current or name != "I"}
        _call(function, filename, given, 1 + len(state), " and ".join(["V", *state]))


def try_synapse(model: SynapseModel, filename: str, parameters: Mapping[str, float], dt: float = 0.1) -> None:
    """Call a synapse's function once, and raise UserError unless it returns finite numbers."""
    _require_names(model, filename, model.state, ("V", "arrived", "dt", "p"))
    state = dict.fromkeys(model.state, 0.0)
    known = {**state, "arrived": 1.0, "V": -65.0, "dt": dt, "p": SimpleNamespace(**parameters)}
    _call(model.function, filename, known, 1 + len(state), " and ".join([*state, "the current"]))


def try_rule(model: RuleModel, filename: str, parameters: Mapping[str, float]) -> None:
    """Call a rule's functions once, and raise UserError unless they return finite numbers."""
    _require_names(model, filename, model.traces)
    for trace, tau in model.traces.items():
        _require(trace.endswith(("_pre", "_post")), model.function, filename,
                 f"the trace {trace!r} must end in _pre or _post, the side whose spikes it follows")
        _require(parameters.get(tau, 0.0) > 0, model.function, filename,
                 f"the time constant {tau!r} of the trace {trace!r} must be a parameter above 0")
    known = {"w": 1.0, **dict.fromkeys(model.traces, 0.5), "p": SimpleNamespace(**parameters)}
    _call(model.function, filename, known | {"V": -65.0}, 1, "the weight")
    if model.on_post is not None:
        _call(model.on_post, filename, known, 1, "the weight")


def try_teacher(
    model: TeacherModel, filename: str, parameters: Mapping[str, float], initial_state: Sequence[float]
) -> None:
    """Call a teacher's function once in its initial state, and raise UserError unless it returns finite slopes."""
    _require_names(model, filename)
    known = {"x": tuple(initial_state), "t": 0.0, "p": SimpleNamespace(**parameters)}
    n = len(initial_state)
    _call(model.function, filename, known, n, f"the slope of each of the {n} components of initial_state")


def _require_names(
    model: Declaration, filename: str, variables: Iterable[str] = (), taken: Collection[str] = ()
) -> None:
    """Raise UserError unless parameters and variables have names that can stand in a function, and are not taken."""
    for name in (*model.parameters, *variables):
        is_name = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")
        _require(is_name, model.function, filename, f"cannot name anything {name!r}; choose a name as of a variable")
    for name in variables:
        _require(name not in taken, model.function, filename, f"has a variable {name!r}, which is taken; rename it")


def _call(function: Function, filename: str, known: Mapping[str, Any], n: int, what: str) -> None:
    names = arguments_of(function)
    for name in names:
        _require(name in known, function, filename, f"asks for {name!r}; it can have {', '.join(known)}")
    try:
        values = function(*(known[name] for name in names))
    except Exception as error:
        raise UserError(_locate(error, filename)) from None
    values = values if isinstance(values, tuple) else (values,)
    _require(len(values) == n, function, filename, f"returns {len(values)} values; it must return {n}: {what}")
    for value in values:
        is_finite = (isinstance(value, (int, float)) or hasattr(value, "dtype")) and math.isfinite(value)
        _require(is_finite, function, filename, f"returns {value!r} where a finite number must be")


def _require(condition: bool, function: Function, filename: str, remedy: str) -> None:
    if not condition:
        name = function.__name__ if function.__name__ != "<lambda>" else "lambda"
        raise UserError(f"{filename}:{function.__code__.co_firstlineno}: {name} {remedy}")
