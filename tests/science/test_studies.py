"""The quick studies of the papers: no claim is contradicted, none passes by default, and no figure is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.studies.publication import CLAIMS, FIGURES
from analysis.studies.study import Verdict, known_studies, load_study
from mpi_engine.compiled import build

STEELYARD = str(Path(sys.executable).with_name("steelyard"))

KEPT = Path(__file__).parents[2] / "build" / "studies" / build()
"""For runs of this very engine: a test that was stopped goes on, and one of a changed claim simulates nothing anew."""


@pytest.mark.science
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", list(known_studies()))
def test_no_claim_of_a_paper_is_contradicted(name: str) -> None:
    directory = KEPT / name
    (directory / CLAIMS).unlink(missing_ok=True)
    ended = subprocess.run([STEELYARD, "study", name, "-o", str(directory)], check=False)
    assert (directory / CLAIMS).exists(), f"it ended with {ended.returncode} before its claims were judged"
    claims = json.loads((directory / CLAIMS).read_text())["claims"]
    by_verdict = {verdict: [claim for claim in claims if claim["verdict"] == verdict] for verdict in Verdict}
    contradicted = [f"{claim['statement']}: {claim['reason']}" for claim in by_verdict[Verdict.CONTRADICTED]]
    assert (ended.returncode, contradicted) == (0, [])
    shown = by_verdict[Verdict.SHOWN]
    by_default = [claim["statement"] for claim in shown if not _could_fail(claim["expected"])]
    assert (len(shown) > len(claims) / 2, by_default) == (True, [])
    assert len(list((directory / FIGURES).glob("*.png"))) == len(load_study(name).figures)


def _could_fail(expected: dict[str, float | None]) -> bool:
    return any(limit is not None for limit in expected.values())
