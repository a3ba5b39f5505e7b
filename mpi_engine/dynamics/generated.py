"""Modules whose text is written when an experiment is built, kept with the compiled code that they hold."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from types import ModuleType
from uuid import uuid4

from mpi_engine.compiled import cache_directory


def load_module(kind: str, text: str) -> ModuleType:
    """Import a generated text as a module of its own, named by what it is for and its hash.

    Parameters
    ----------
    kind : str
        What it is for.
    text : str
        Python.
    """
    name = f"{kind}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    path = cache_directory() / f"{name}.py"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{name}.{uuid4().hex}")    # others may write it, with the same process number
        temporary.write_text(text, encoding="utf-8")
        os.utime(temporary, (1, 1))    # numba stamps caches with the source's time: the name says all, so pin it
        temporary.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
