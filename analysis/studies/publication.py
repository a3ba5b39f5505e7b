"""What becomes of a study: a table for the terminal, claims as JSON, figures as files, and one page with all of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from analysis import page
from analysis.confidence import Interval
from analysis.studies.study import Claim, Drawing, Parts, Study, Verdict, count
from analysis.style import save
from analysis.verdict import number
from mpi_engine.output.reader import RunError

PAGE, CLAIMS, FIGURES = "report.html", "claims.json", "figures"

_STYLES = {Verdict.SHOWN: "green", Verdict.CONTRADICTED: "bold red", Verdict.OPEN: "yellow"}
_ROLES: dict[Verdict, page.Role] = {
    Verdict.SHOWN: "agrees", Verdict.CONTRADICTED: "differs", Verdict.OPEN: "open",
}  # fmt: skip


def publish(study: Study, claims: Sequence[Claim], parts: Parts, directory: Path, command: str) -> Path:
    """Write ``claims.json``, ``figures/`` as PDF and PNG, and ``report.html``; a figure that fails is left out.

    Parameters
    ----------
    study : Study
        The study.
    claims : sequence of Claim
        As judged.
    parts : mapping of str to Sweep
        Its finished parts.
    directory : Path
        Where to write.
    command : str
        What was typed.

    Returns
    -------
    Path
        The page.
    """
    (directory / FIGURES).mkdir(exist_ok=True)
    drawings, missing = _draw(study, parts)
    for drawing in drawings:
        save(drawing.figure, directory / FIGURES / drawing.name)
    rows = [_plain(asdict(claim)) | {"verdict": claim.verdict, "reason": claim.reason} for claim in claims]
    about = {"study": study.title, "paper": study.paper, "chosen": study.chosen, "command": command,
             "summary": count(claims)}
    told = json.dumps(about | {"claims": rows}, indent=1, ensure_ascii=False)
    (directory / CLAIMS).write_text(f"{told}\n", encoding="utf-8")
    remarks = [*([study.chosen] if study.chosen else []), *missing]
    sections = [
        page.Section("Claims", [_table(claims), *([page.Text(remarks)] if remarks else [])]),
        page.Section("Figures", [page.Gallery([page.picture(d.figure, d.caption) for d in drawings])]),
        page.Section("Provenance", [page.Facts(list(_facts(parts))), *_descriptions(directory, parts)]),
    ]
    contradicted = any(claim.verdict is Verdict.CONTRADICTED for claim in claims)
    html = page.page(study.title, sections, study.paper, count(claims), contradicted, command)
    (directory / PAGE).write_text(html, encoding="utf-8")
    return directory / PAGE


def as_table(claims: Sequence[Claim]) -> Table:
    """Lay claims out for a terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, ratio in (("claim", 3), ("expected", 1), ("measured", 2), ("", 2)):
        table.add_column(column, ratio=ratio)
    for topic, group in groupby(claims, lambda claim: claim.topic):
        table.add_row(f"[bold]{escape(topic)}[/bold]")
        for claim in group:
            verdict = f"[{_STYLES[claim.verdict]}]{claim.verdict}[/]" + f": {escape(claim.reason)}" * bool(claim.reason)
            unit = f" [dim]{claim.unit}[/dim]" * bool(claim.unit)
            what, measured = f"  {escape(claim.statement)}{unit}", escape(with_limits(claim.measured))
            table.add_row(what, str(claim.expected), measured, verdict)
    return table


def with_limits(measured: Interval) -> str:
    """Format a measurement with its limits: "0.520 [0.470, 0.570]"."""
    known = isfinite(measured.low) and measured.low < measured.high
    return number(measured.value) + (f" [{number(measured.low)}, {number(measured.high)}]" if known else "")


def _draw(study: Study, parts: Parts) -> tuple[list[Drawing], list[str]]:
    drawings, missing = [], []
    for draw in study.figures:
        try:
            drawings.append(draw(parts))
        except (RunError, ValueError) as error:
            name = (draw.__doc__ or draw.__name__).strip().splitlines()[0]
            missing.append(f"A figure is missing ({name}): {error}")
    return drawings, missing


def _table(claims: Sequence[Claim]) -> page.Table:
    rows: list[page.Row | str] = []
    for topic, group in groupby(claims, lambda claim: claim.topic):
        rows.append(topic)
        for claim in group:
            small = [claim.source, f"interval over {claim.over}" if claim.over else "", claim.reason]
            cells = [
                page.Cell(str(claim.expected)),
                page.Cell(with_limits(claim.measured)),
                page.Cell(claim.verdict, _ROLES[claim.verdict]),
            ]
            rows.append(page.Row(claim.statement, cells, claim.unit, "; ".join(filter(None, small))))
    return page.Table(("claim", "expected", "measured", "verdict"), rows)


def _facts(parts: Parts) -> list[tuple[str, str]]:
    """List how many runs there are of each part, for how long they simulate, and what the first ran on."""
    facts = []
    for name, part in parts.items():
        seconds = sum(run.experiment.run.duration_ms for run in part.runs.values()) / 1e3
        facts.append((name, f"{len(part.runs)} runs, {seconds:g} s of biological time"))
    first = next(iter(next(iter(parts.values())).runs.values()))
    known = first.provenance if first.recorded_ms else {}
    facts += [(name, str(known[name])) for name in ("cpu", "platform", "start", "stop") if known.get(name)]
    return facts + [(name, str(version)) for name, version in known.get("versions", {}).items()]


def _descriptions(directory: Path, parts: Parts) -> list[page.Folded]:
    files = {name: directory / f"{name}.toml" for name in parts}
    return [page.Folded(name, [page.Code(file.read_text(encoding="utf-8"))]) for name, file in files.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value
