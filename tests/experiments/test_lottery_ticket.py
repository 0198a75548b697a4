"""Batches of several sizes from one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lottery_ticket.model import FirstOf
from nsh import WithReplacement

pytestmark = pytest.mark.core


@pytest.mark.long
def test_first_of_a_batch_holds_so_many_samples_of_the_whole_batch():
    key = jax.random.key(0)
    whole, _ = WithReplacement(8).draw(None, jnp.int32(3), 20, key, 100)
    draw = jax.jit(lambda used: FirstOf(8, used=used).draw(None, jnp.int32(3), 20, key, 100)[0])
    for used in (1, 3, 8):
        for row, batch in zip(np.asarray(whole), np.asarray(draw(jnp.int32(used))), strict=True):
            assert set(batch) == set(row[:used])
