"""The quick studies of the papers: no claim is contradicted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.studies.study import known_studies

STEELYARD = str(Path(sys.executable).with_name("steelyard"))


@pytest.mark.science
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", list(known_studies()))
def test_no_claim_of_a_paper_is_contradicted(name: str, tmp_path: Path) -> None:
    ended = subprocess.run([STEELYARD, "study", name, "-o", str(tmp_path)], check=False)
    told = json.loads((tmp_path / "claims.json").read_text())
    contradicted = [claim["statement"] for claim in told["claims"] if claim["verdict"] == "not shown"]
    assert (ended.returncode, contradicted) == (0, [])
