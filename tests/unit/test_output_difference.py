"""The comparison of two runs says where they differ, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpi_engine.output.difference import differences
from mpi_engine.output.layout import Record
from mpi_engine.output.provenance import provenance
from mpi_engine.output.reader import RunError
from mpi_engine.output.segments import seal
from mpi_engine.output.writers import GatherWriter
from tests.made_up_run import DT_MS, experiment, make_records

WRITER = GatherWriter(None)


def write(directory: Path, records: list[Record]) -> Path:
    directory.mkdir()
    (directory / "experiment.toml").write_text(experiment().to_toml())
    for first_step in (0, 300):
        part = records if first_step == 300 else make_records(0, 1, 0, 300)
        part = [*part, *provenance(WRITER, experiment(), 0.0, {"made": float(len(directory.name))}, 1)]
        seal(WRITER, directory, first_step, first_step + 300, DT_MS, part)
    return directory


@pytest.fixture
def records() -> list[Record]:
    return make_records(0, 1, 300, 600)


@pytest.fixture
def original(tmp_path: Path, records: list[Record]) -> Path:
    return write(tmp_path / "original", records)


def changed(records: list[Record], path: str, index: tuple[int, ...], value: float) -> list[Record]:
    [k] = [k for k, record in enumerate(records) if record.path == path]
    values = np.array(records[k].values)
    values[index] = value
    return [*records[:k], replace(records[k], values=values), *records[k + 1 :]]


def test_provenance_may_differ(original: Path, records: list[Record], tmp_path: Path) -> None:
    assert differences(original, write(tmp_path / "same", records)) == []


def test_the_first_difference_is_shown_with_both_values(
    original: Path, records: list[Record], tmp_path: Path
) -> None:
    other = changed(records, "/report/E/data", (7, 2), 0.5)
    other = changed(other, "/report/E/data", (9, 0), 0.5)
    [line] = differences(original, write(tmp_path / "other", other))
    rows_before = 300 // 5
    assert line.startswith(f"/report/E/data[{rows_before + 7}, 2]: ")
    assert line.endswith("and 0.5")


def test_bits_are_compared(original: Path, records: list[Record], tmp_path: Path) -> None:
    path = "/weights/E_to_E/mean"
    zero = write(tmp_path / "zero", changed(records, path, (1,), 0.0))
    minus = write(tmp_path / "minus", changed(records, path, (1,), -0.0))
    nan = write(tmp_path / "nan", changed(records, path, (1,), np.nan))
    nan_too = write(tmp_path / "nan too", changed(records, path, (1,), np.nan))
    assert differences(zero, minus) == [f"{path}[3]: 0.0 and -0.0"]
    assert differences(nan, nan_too) == []
    assert len(differences(nan, zero)) == 1


def test_missing_datasets_shapes_and_types(original: Path, records: list[Record], tmp_path: Path) -> None:
    path = "/statistics/rates/E/rate_hz"
    [k] = [k for k, record in enumerate(records) if record.path == path]
    values = np.array(records[k].values)
    longer = np.append(values, 1.0)
    more = replace(records[k], shape=longer.shape, values=longer)
    other = write(tmp_path / "longer", [*records[:k], more, *records[k + 1 :]])
    assert differences(original, other) == [f"{path}: float64[6] and float64[7]"]
    extra = Record("/network/extra", (2,), np.dtype(np.int64), grows=False, values=np.arange(2))
    other = write(tmp_path / "extra", [*records, extra])
    assert differences(original, other)[0] == "/network/extra: only in the second"
    assert differences(other, original)[0] == "/network/extra: only in the first"


def test_attributes_are_compared(original: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter"
    shorter.mkdir()
    (shorter / "experiment.toml").write_text(experiment().to_toml())
    scaled = [
        replace(record, group_attributes={"scale": 2.0, "synapses": np.int64(14)})
        if record.path == "/weights/E_to_E/time_ms"
        else record
        for record in make_records(0, 1, 0, 300)
    ]
    seal(WRITER, shorter, 0, 300, DT_MS, scaled)
    lines = differences(original, shorter)
    assert "/: attribute last_step is 600 and 300" in lines
    assert "/weights/E_to_E: attribute scale is 0.3333333333333333 and 2.0" in lines


def test_a_missing_run_is_told(original: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        differences(original, tmp_path / "nowhere")
