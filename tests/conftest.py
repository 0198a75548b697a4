"""Strict mode for all tests: shapes checked at run time, no implicit promotion of dtype or rank."""

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook("nsh", "beartype.beartype")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def relative_tolerance() -> float:
    """What agreement with exact arithmetic means in the float type of this run."""
    return 1e-12 if jax.config.read("jax_enable_x64") else 1e-5
