"""Blocks: every member in one block, all of one size but at the ends."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh.study.study import Blocks


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    members=st.integers(1, 300),
    whole=st.integers(0, 1),
)
def test_blocks_are_a_partition(shape, members, whole):
    blocks = Blocks.of(shape, members, whole)
    times = np.zeros(shape, int)
    for block in blocks:
        region = blocks.region(block)
        times[region] += 1
        assert blocks.members(block) == times[region].size
        assert all(
            i * size == part.start for i, size, part in zip(block, blocks.size, region, strict=True)
        )
    assert (times == 1).all()
    assert len(blocks) == len(list(blocks))
    if whole:
        assert blocks.size[-1] == shape[-1]
    assert math.prod(blocks.size) <= max(members, shape[-1] if whole else 1)


@pytest.mark.parametrize(
    ("shape", "members", "whole", "size"),
    [
        ((3, 20), 16, 0, (1, 16)),
        ((3, 20), 40, 0, (2, 20)),
        ((3, 20), 1000, 0, (3, 20)),
        ((2, 3, 4), 8, 0, (1, 2, 4)),
        ((3, 20), 16, 1, (1, 20)),
    ],
)
def test_last_axes_first(shape, members, whole, size):
    assert Blocks.of(shape, members, whole).size == size
