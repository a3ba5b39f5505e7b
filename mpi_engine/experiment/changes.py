"""In which keys two experiments differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpi_engine.experiment.experiment import Experiment

_CONTINUABLE = ("run.duration_ms", "run.checkpoint_every_ms", "run.checkpoint_every_wall_s", "recording.segment_ms")
"""Keys that may change in the middle of a run: neither its dynamics nor what it records depend on them."""

_WATCHING = "health."
"""What such keys begin with, too."""


def may_change(key: str) -> bool:
    """Say whether a key may change in the middle of a run."""
    return key in _CONTINUABLE or key.startswith(_WATCHING)


def find_changes(old: Experiment, new: Experiment) -> dict[str, Any]:
    """List the keys in which an experiment differs from an older one, with its values; None where it has none."""
    before, after = _flatten(old.model_dump()), _flatten(new.model_dump())
    return {key: after.get(key) for key in (before | after) if before.get(key) != after.get(key)}


def _flatten(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{path}{name}"
        flat |= _flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat
