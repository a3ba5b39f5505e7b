"""What unit tests share."""

from __future__ import annotations

from typing import Any

import pytest

_first_states: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _same_numbers(request: pytest.FixtureRequest) -> None:
    """Let a test draw the same numbers from its module's generator, whichever tests ran before it."""
    if (rng := getattr(request.module, "RNG", None)) is not None:
        generator = rng.bit_generator
        generator.state = _first_states.setdefault(request.module.__name__, generator.state)
