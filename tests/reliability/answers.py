"""What the command answers, and what makes an answer a refusal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


def refused(answer: Answer, *words: str) -> None:
    """Assert that a command was refused in one line that has some words, and said nothing else."""
    assert answer.code == 2, answer.err
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("steelyard: ")
    for word in words:
        assert word in lines[0]
