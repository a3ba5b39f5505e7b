"""Segments: the parts of biological time in which a run is written, and the one file that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from mpi_engine.output.integrity import RunError, checksum
from mpi_engine.output.layout import PROVENANCE, Record, is_report_time
from mpi_engine.output.sealed import (
    RUN_FILE,
    SEGMENTS,
    Sealed,
    find_damage,
    open_sealed,
    read_contents,
    sealed_segments,
)
from mpi_engine.output.writers import Slab, Writer, publish


def seal(
    writer: Writer, run_dir: Path, first_step: int, last_step: int, dt_ms: float, records: Sequence[Record]
) -> Path:
    """Collective. Write the next segment of a run and seal it.

    Parameters
    ----------
    writer : Writer
        How.
    run_dir : Path
        The run directory.
    first_step, last_step : int
        Steps done before the segment and after it: it holds the steps with first < n <= last.
    dt_ms : float
        Time step [ms].
    records : sequence of Record
        What was recorded. What grows is in every segment, also if empty; what is constant may be in some only.

    Returns
    -------
    Path
        The sealed file.

    Raises
    ------
    RunError
        If the segment does not begin where the last sealed one ends.
    """
    path = writer.on_first(lambda: _next_segment(run_dir, first_step))
    attributes = {
        "first_step": first_step,
        "last_step": last_step,
        "start_ms": first_step * dt_ms,
        "stop_ms": last_step * dt_ms,
    }
    writer.write(path, records, attributes)
    return path


def consolidate(writer: Writer, run_dir: Path, records: Sequence[Record]) -> Path:
    """Collective. Make one file, ``run.h5``, of all sealed segments, verify it against them, and remove them.

    Data are concatenated in pieces, so that the memory needed is bounded; the ranks share the copying. May be called
    again after a crash at any moment.

    Parameters
    ----------
    writer : Writer
        How.
    run_dir : Path
        The run directory.
    records : sequence of Record
        Datasets to add: the provenance of the whole run, which takes the place of that of the segments.

    Returns
    -------
    Path
        The run file.

    Raises
    ------
    RunError
        If there is no segment, one is damaged, or the file cannot be read back as it was written; the segments stay.
    """
    path = run_dir / RUN_FILE
    if not writer.on_first(path.exists):
        sealed = writer.on_first(lambda: Sealed(_all_segments(run_dir)))
        attributes = writer.on_first(sealed.attributes)
        joined = writer.on_first(lambda: _join(sealed, attributes))
        if writer.rank > 0:
            joined = [replace(record, values=None) for record in joined]
        draft = path.with_suffix(".unverified")
        writer.write(draft, [*joined, *records], attributes["/"], _slabs(sealed, [*joined, *records], writer))
        _verify(sealed, draft, writer)
        writer.on_first(lambda: publish(draft, path))
    writer.on_first(lambda: _remove_segments(run_dir))
    return path


def find_gap(run_dir: Path, begin: int, step: int) -> str:
    """Say what is missing of the segments from one step to another, whatever follows; empty if nothing is."""
    end = begin
    try:
        for segment in sealed_segments(run_dir):
            if end >= step:
                break
            contents = read_contents(segment)
            if contents.first_step != end:
                break
            end = contents.last_step
    except RunError as error:
        return str(error)
    return "" if end == step else f"{run_dir}: steps {begin} to {step} are not all recorded"


def go_back(run_dir: Path, begin: int, step: int) -> None:
    """Throw away what a run that began at a step recorded after another, the last first, and what was not sealed."""
    later, end = sealed_segments(run_dir), begin
    while later and end < step:
        end = read_contents(later.pop(0)).last_step
    for segment in reversed(later):
        segment.unlink()
    for unsealed in run_dir.glob("*/*.partial"):
        unsealed.unlink()


def reopen(run_dir: Path) -> None:
    """Let a finished run go on: its one file becomes its first segment."""
    _remove_segments(run_dir)
    (run_dir / SEGMENTS).mkdir(exist_ok=True)
    publish(run_dir / RUN_FILE, run_dir / SEGMENTS / "000000.h5")


def _next_segment(run_dir: Path, first_step: int) -> Path:
    (run_dir / SEGMENTS).mkdir(exist_ok=True)
    sealed = sealed_segments(run_dir)
    last_step = read_contents(sealed[-1]).last_step if sealed else first_step
    if first_step != last_step:
        raise RunError(
            f"{run_dir}: the next segment begins at step {first_step}, the last sealed one ends at {last_step}; "
            "resume the run, or write to another directory"
        )
    number = int(sealed[-1].stem) + 1 if sealed else 0
    return run_dir / SEGMENTS / f"{number:06d}.h5"


def _all_segments(run_dir: Path) -> list[Path]:
    files = sealed_segments(run_dir)
    if not files:
        raise RunError(f"{run_dir}: has no sealed segment to make {RUN_FILE} of; run the experiment first")
    return files


def _join(sealed: Sealed, attributes: Mapping[str, Mapping[str, Any]]) -> list[Record]:
    """Describe the whole of the segments: what is constant with its values, what grows without."""
    joined = []
    for path in sealed.paths:
        if path.startswith(f"{PROVENANCE}/"):
            continue    # that of the whole run takes its place
        entry = sealed.entry(path)
        joined.append(
            Record(
                path,
                sealed.shape(path),
                entry.dtype,
                entry.grows,
                values=None if entry.grows else sealed.read([path])[0],
                attributes=attributes[path],
                group_attributes=attributes[path.rpartition("/")[0]],
            )
        )
    return joined


def _slabs(sealed: Sealed, records: Sequence[Record], writer: Writer) -> Iterator[Slab]:
    """Go through the data, each rank through every so-manieth segment, all with the same datasets at a time."""
    growing = [record for record in records if record.grows]
    for record in records:
        if not record.grows:
            yield record.path, record.start, record.values
    for round_start in range(0, len(sealed.files), writer.size):
        index = round_start + writer.rank
        mine = open_sealed(sealed.files[index]) if index < len(sealed.files) else nullcontext()
        with mine as file:
            for record in growing:
                if file is None:
                    yield record.path, record.start, None
                else:
                    start = (int(sealed.offsets(record.path)[index]), *record.start[1:])
                    yield record.path, start, file[record.path]


def _verify(sealed: Sealed, draft: Path, writer: Writer) -> None:
    """Collective. Raise on every rank if the file does not hold what the segments were sealed with."""
    mine = range(writer.rank, len(sealed.files), writer.size)
    try:
        with open_sealed(draft) as file:
            problems = [problem for index in mine for problem in _compare(sealed, index, file)]
    except RunError as error:
        problems = [str(error)]
    for found in writer.allgather(problems):
        if found:
            raise RunError(found[0])


def _compare(sealed: Sealed, index: int, file: h5py.File) -> list[str]:
    """Compare what a file has of one segment with what the segment was sealed with."""
    segment = sealed.files[index]
    with open_sealed(segment) as original:
        for path, entry in sealed.manifests[index].items():
            if path.startswith(f"{PROVENANCE}/"):
                continue
            start = int(sealed.offsets(path)[index]) if entry.grows else 0
            # a report's time axis is stretched over the run, so it can only be compared with itself
            held = original[path] if is_report_time(path) else file[path]
            if checksum(held, start, start + entry.rows) != entry.checksum:
                return find_damage(segment) or [f"{file.filename}: {path} is not read as written; check the disk"]
    return []


def _remove_segments(run_dir: Path) -> None:
    for segment in sealed_segments(run_dir):
        segment.unlink()
    if (run_dir / SEGMENTS).exists():
        for unsealed in (run_dir / SEGMENTS).glob("*.partial"):
            unsealed.unlink()
        with suppress(OSError):     # something else lies in it
            (run_dir / SEGMENTS).rmdir()
