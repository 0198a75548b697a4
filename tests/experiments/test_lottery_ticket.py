"""Batches of several sizes from one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.batches import FirstOf, FixedBatches
from nsh import WithReplacement

pytestmark = pytest.mark.core


@pytest.mark.long
def test_first_of_a_batch_are_held_in_turn():
    key, first = jax.random.key(0), jnp.int32(3)
    whole, _ = WithReplacement(8).draw(None, first, 20, key, 100)
    draw = jax.jit(
        lambda size: FirstOf(WithReplacement(8), size).draw(None, first, 20, key, 100)[0]
    )
    for size in (1, 2, 3, 8):
        for row, batch in zip(np.asarray(whole), np.asarray(draw(jnp.int32(size))), strict=True):
            np.testing.assert_array_equal(batch, np.resize(row[:size], 8))


def test_after_the_last_fixed_batch_the_first_follows():
    rows = jnp.arange(6, dtype=jnp.int32).reshape(3, 2)
    drawn, _ = FixedBatches(rows).draw(None, jnp.int32(2), 3, jax.random.key(0), 6)
    np.testing.assert_array_equal(drawn, [[4, 5], [0, 1], [2, 3]])
