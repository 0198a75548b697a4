"""Strict mode for all tests: shapes checked at run time, no implicit promotion of dtype or rank.

Programs run for moments here, so most of the time goes into compiling them: they are compiled with
few optimisations, which halves it. Tests marked `optimised` compile as users do: those about
equality to the bit, which vectorised code could break, and long runs.
``JAX_DISABLE_MOST_OPTIMIZATIONS=0 pytest`` compiles everything as users do.
"""

import os

import jax
import pytest
from jaxtyping import install_import_hook

QUICK = "jax_disable_most_optimizations"

install_import_hook("nsh", "beartype.beartype")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(QUICK, os.environ.get(QUICK.upper(), "1") != "0")
quick = jax.config.read(QUICK)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """How programs are optimised, which is no part of what JAX caches them by."""
    wanted = quick and item.get_closest_marker("optimised") is None
    if jax.config.read(QUICK) != wanted:
        jax.clear_caches()
        jax.config.update(QUICK, wanted)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def relative_tolerance() -> float:
    """What agreement with exact arithmetic means in the float type of this run."""
    return 1e-12 if jax.config.read("jax_enable_x64") else 1e-5
