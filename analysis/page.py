"""One self-contained page of sections: text, tables, pictures, and what is folded away until it is asked for."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from analysis.style import as_svg

Role = Literal["number", "text", "agrees", "differs", "open"]


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Parameters
    ----------
    source : str
        The picture as a data URI.
    caption : str
        What there is to see; also read out in its stead.
    """

    source: str
    caption: str


def picture(figure: Figure, caption: str) -> Picture:
    """Make a picture of a figure, as vector graphics."""
    return Picture("data:image/svg+xml;base64," + base64.b64encode(as_svg(figure)).decode(), caption)


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, `columns` of them in a row where the screen is wide enough."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]
    columns: int = 2


@dataclass(frozen=True)
class Cell:
    """A value in a table.

    Parameters
    ----------
    text : str
        What to show.
    role : str
        A "number", a "text", or a verdict, which "agrees", "differs" or is left "open".
    span : int
        Columns that the cell covers.
    label : str, optional
        What a cell of several columns is called on a narrow screen.
    """

    text: str
    role: Role = "number"
    span: int = 1
    label: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: a quantity with its unit, a remark in small print, and its cells."""

    name: str
    cells: Sequence[Cell]
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table; on a narrow screen each row becomes a card, whose values carry the names of their columns.

    Parameters
    ----------
    columns : sequence of str
        Headings; the first is that of the rows' names.
    rows : sequence of Row or str
        A text is the heading of the rows below it.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Row | str]

    @property
    def roles(self) -> list[str]:
        """What each column holds, but for the first: numbers are set to the right."""
        whole = [row.cells for row in self.rows if isinstance(row, Row) and len(row.cells) == len(self.columns) - 1]
        return [cell.role for cell in whole[0]] if whole else ["text"] * (len(self.columns) - 1)


@dataclass(frozen=True)
class Text:
    """Paragraphs."""

    kind: ClassVar[str] = "text"
    paragraphs: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names with what belongs to them."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Text as it stands in a file."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Folded:
    """Parts behind a title that opens them."""

    kind: ClassVar[str] = "folded"
    title: str
    parts: Sequence[Part]


Part = Gallery | Table | Text | Facts | Code | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    heading: str
    parts: Sequence[Part] = field(default_factory=list)


def page(
    title: str,
    sections: Sequence[Section],
    summary: str = "",
    verdict: str = "",
    differs: bool = False,
    command: str = "",
) -> str:
    """Write a page.

    Parameters
    ----------
    title, summary : str
        What the page is about, and of which network or runs.
    sections : sequence of Section
        In the order in which they are read; one without parts is left out.
    verdict : str
        The result in a sentence; set apart.
    differs : bool
        Whether something is not as it was expected: the verdict is then marked.
    command : str
        What made the page.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.
    """
    environment = Environment(loader=PackageLoader("analysis", "."), autoescape=True, undefined=StrictUndefined)
    html: str = environment.get_template("page.html").render(
        title=title,
        summary=summary,
        verdict=verdict,
        differs=differs,
        sections=[section for section in sections if section.parts],
        command=command,
        version=version("steelyard"),
    )
    return html
