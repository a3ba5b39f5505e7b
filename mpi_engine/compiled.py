"""How the engine compiles: three decorators, and a disk cache that cannot be stale.

Numba notices a change of the file in which a cached function stands, but not of those it calls. All caches therefore
live in a directory named by the hash of every source file that compiled code comes from, the versions and the CPU.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import llvmlite
import llvmlite.binding
import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

_ENGINE = Path(__file__).parent

Real = Any
"""A number in the state's or the weights' format, float32 or float64."""


@functools.cache
def fingerprint() -> str:
    """Hash the sources of compiled code, the versions of the compilers, and the CPU."""
    own = [Path(__file__), _ENGINE / "user.py", _ENGINE / "systems.py"]
    return _hash(*own, *_ENGINE.glob("network/*.py"), *_ENGINE.glob("dynamics/*.py"))


@functools.cache
def build() -> str:
    """Hash all of the engine's sources, and the rest as `fingerprint` does: what all ranks must have in common."""
    return _hash(*_ENGINE.rglob("*.py"))


def _hash(*sources: Path) -> str:
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes())
    features = llvmlite.binding.get_host_cpu_features().flatten()
    for version in (numba.__version__, llvmlite.__version__, np.__version__, cpu_name(), features):
        digest.update(version.encode())
    return digest.hexdigest()[:16]


def cpu_name() -> str:
    """Name the CPU type as LLVM does."""
    return str(llvmlite.binding.get_host_cpu_name())


def cache_directory() -> Path:
    """Where compiled kernels are kept: ``$XDG_CACHE_HOME/steelyard/kernels``, a directory for each fingerprint."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "steelyard" / "kernels" / fingerprint()


def why_not_kept() -> str:
    """Say why compiled kernels cannot be kept here, without which no run begins; empty if they can."""
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        return f"kernel cache = {directory}: {error.strerror}; let it be written to, or set XDG_CACHE_HOME to another"


numba.config.CACHE_DIR = str(cache_directory())
if numba.config.CPU_FEATURES is None and llvmlite.binding.get_host_cpu_features().get("avx512bf16"):
    # LLVM avoids vectors of 512 bits for the sake of CPUs that slow down with them; those with this feature do not
    numba.config.CPU_FEATURES = llvmlite.binding.get_host_cpu_features().flatten() + ",-prefer-256-bit"


def kernel(function: Function) -> Function:
    """Compile a function that Python calls; kept on disk."""
    compiled: Function = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
    return compiled


def part(function: Function) -> Function:
    """Compile a function that kernels call, and nothing else: it becomes part of theirs and has no wrappers."""
    return _part(function)


def inlined(function: Function) -> Function:
    """Compile a part into the body of what calls it: one of each step, whose many arguments would be copied."""
    return _part(function, forceinline=True)


def _part(function: Function, **options: bool) -> Function:
    decorate = numba.njit(
        nogil=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options
    )
    compiled: Function = decorate(function)
    return compiled
