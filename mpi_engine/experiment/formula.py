"""Formulas of time: a text of arithmetic, read against a list of what may stand in it, and never executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from functools import reduce
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Discriminator, Field, FiniteFloat, Tag

Floats = NDArray[np.float64]

_LONGEST = 500
"""Characters; so its parts are not nested too deeply either."""

_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.UAdd: np.positive, ast.USub: np.negative,
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}  # fmt: skip

_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "sin": (1, 1, np.sin), "cos": (1, 1, np.cos), "exp": (1, 1, np.exp), "sqrt": (1, 1, np.sqrt),
    "log": (1, 1, np.log), "abs": (1, 1, np.abs),
    "min": (2, _LONGEST, lambda *values: reduce(np.minimum, values)),
    "max": (2, _LONGEST, lambda *values: reduce(np.maximum, values)),
    "where": (3, 3, lambda condition, yes, no: np.where(condition != 0, yes, no)),
}  # fmt: skip
"""Least and most arguments of each function, and what computes it."""

_VOCABULARY = f"+ - * / ** ( ) < <= > >= == !=, numbers, t (in ms), pi, {' '.join(_FUNCTIONS)}"


def _read(text: str) -> ast.expr:
    """Parse a formula; ValueError says which part of it is not one."""
    if len(text) > _LONGEST:
        raise ValueError(f"has {len(text)} characters; a formula has at most {_LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # what Python finds odd is refused below, or is well
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"is not a formula of t, which may have {_VOCABULARY}") from None


def _value(node: ast.expr, t: Floats) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return np.float64(number) if abs(number) < 1e300 else np.inf    # whole numbers may be longer than any float
        case ast.Name(id="t"):
            return t
        case ast.Name(id="pi"):
            return np.float64(np.pi)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_value(node.left, t), _value(node.right, t))
        case ast.UnaryOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_value(node.operand, t))
        case ast.Compare() if all(type(operator) in _OPERATORS for operator in node.ops):
            values = [_value(part, t) for part in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            # numbers, not truth values, whose sum would be a truth value
            return reduce(np.multiply, [np.float64(_OPERATORS[type(compare)](a, b)) for compare, a, b in pairs])
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            least, most, function = _FUNCTIONS[name]
            if not least <= len(node.args) <= most:
                wanted = f"{least}" if least == most else f"at least {least}"
                raise ValueError(f"{name} is given {len(node.args)} arguments; it takes {wanted}")
            return function(*(_value(argument, t) for argument in node.args))
    raise ValueError(f"{ast.unparse(node)!r} cannot stand in a formula of t, which may have {_VOCABULARY}")


def _checked(text: str) -> str:
    evaluate(text, np.zeros(1))
    return text


def _which(value: Any) -> str:
    return "formula" if isinstance(value, str) else "number"


Formula = Annotated[str, AfterValidator(_checked), Tag("formula")]
"""A formula of the time t since the start of the run [ms]."""

NumberOrFormula = Annotated[Annotated[FiniteFloat, Tag("number")] | Formula, Discriminator(_which)]
"""A number, or a formula of t."""

Rate = Annotated[Annotated[FiniteFloat, Field(ge=0), Tag("number")] | Formula, Discriminator(_which)]
"""A number of at least 0, or a formula of t."""


def evaluate(formula: float | str, t_ms: Floats) -> Floats:
    """Evaluate a formula, or a number, at some times.

    Parameters
    ----------
    formula : float or str
        A number, or a formula.
    t_ms : ndarray of float64, shape (n,)
        The times [ms].

    Returns
    -------
    ndarray of float64, shape (n,)
        Infinite or NaN where the formula has no finite value.

    Raises
    ------
    ValueError
        If the text is not a formula.
    """
    if not isinstance(formula, str):
        return np.full(t_ms.shape, np.float64(formula))
    with np.errstate(all="ignore"):
        values = np.empty(t_ms.shape)
        values[:] = _value(_read(formula), t_ms)
        return values
