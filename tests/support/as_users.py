"""Tests run in a process of its own, which compiles as users do; see tests/conftest.py.

How programs are compiled is settled once a process, before JAX compiles the first.
"""

import functools
import importlib
import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


@functools.cache
def process(flags):
    """The process, which XLA starts in with these flags (None: with none)."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_start, initargs=(flags,))


def call(path, function, arguments):
    """Calls a function of the test module at a path, any warning being an error."""
    directory, name = str(Path(path).parent), Path(path).stem
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(module, function)(**arguments)


def no_promotion():
    """No implicit promotion of dtype or rank."""
    import jax

    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")


def _start(flags):
    os.environ.pop("XLA_FLAGS", None)
    if flags is not None:
        os.environ["XLA_FLAGS"] = flags
    no_promotion()
