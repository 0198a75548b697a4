"""Firing: packing, truth tables, and what more firing below does above."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh import Graph, Neurashed, Node
from nsh.neurashed import feature_pathway, figure1, pack, union, unpack

pytestmark = pytest.mark.core
FEW = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.mark.long
@FEW
@given(count=st.sampled_from([1, 32, 70]), seed=st.integers(0, 99))
def test_pack_is_undone_by_unpack(count, seed):
    bits = np.random.default_rng(seed).random((3, 2, count)) < 0.5
    words = pack(jnp.asarray(bits))
    assert words.shape == (3, 2, -(-count // 32))
    assert words.dtype == jnp.uint32
    np.testing.assert_array_equal(unpack(words, count), bits)
    # bit i of word w is entry 32 w + i, and nothing stands after the last
    as_numbers = [sum(2**i for i in np.flatnonzero(row[:32])) for row in bits[0]]
    np.testing.assert_array_equal(words[0, :, 0], as_numbers)
    np.testing.assert_array_equal(unpack(words, words.shape[-1] * 32)[..., count:], False)


@FEW
@given(batch=st.sampled_from([1, 7]), seed=st.integers(0, 99))
def test_union_is_any_over_the_batch(batch, seed):
    bits = np.random.default_rng(seed).random((batch, 40)) < 0.3
    np.testing.assert_array_equal(unpack(union(pack(jnp.asarray(bits))), 40), bits.any(axis=0))


def all_inputs(width):
    return (np.arange(2**width)[:, None] >> np.arange(width)) % 2 == 1


def fired(graph):
    """Whether each node fires, for every input in turn."""
    x = jnp.asarray(all_inputs(graph.widths[0]))
    return np.asarray(jax.jit(jax.vmap(feature_pathway, (None, 0)))(graph, x))


def test_every_boolean_function_of_three_dependents():
    tables = all_inputs(8)  # of three bits there are 256 functions
    graph = Graph.from_nodes(3, [[Node((0, 1, 2), table.tolist()) for table in tables]], [(0,)])
    np.testing.assert_array_equal(fired(graph)[:, 3:], tables.T)


def test_table_bits_follow_the_order_of_the_dependents():
    table = [False, True, False, False]  # fires if the first dependent fires alone
    graph = Graph.from_nodes(3, [[Node((2, 0), table), Node((0, 2), table)]], [(0, 1)])
    x = all_inputs(3)
    wanted = np.stack([x[:, 2] & ~x[:, 0], x[:, 0] & ~x[:, 2]], axis=1)
    np.testing.assert_array_equal(fired(graph)[:, 3:], wanted)


def test_a_table_of_the_most_dependents_beside_plain_nodes():
    table = np.zeros(2**20, bool)
    table[2**19 + 1] = True  # the first and the last alone
    graph = Graph.from_nodes(
        20, [[Node((3,)), Node(range(20), table.tolist()), Node((4, 5))]], [(0, 1, 2)]
    )
    first_and_last = np.isin(np.arange(20), [0, 19])
    x = jnp.asarray([first_and_last, first_and_last | (np.arange(20) == 4)])
    pathways = jax.jit(jax.vmap(feature_pathway, (None, 0)))(graph, x)
    np.testing.assert_array_equal(pathways[:, 20:], [[False, True, False], [False, False, True]])


@pytest.mark.parametrize("least", range(1, 5))
def test_thresholds_count_and_are_monotone(least):
    names: dict[int, str | int] = {1: "any", 4: "all"}
    nodes = [Node((0, 1, 2, 3), least), Node((3, 1, 0, 2), names.get(least) or least)]
    above = fired(Graph.from_nodes(4, [nodes, [Node((0, 1), "all")]], [(0,)]))
    x = all_inputs(4)
    for column in above[:, 4:].T:
        np.testing.assert_array_equal(column, x.sum(axis=1) >= least)
    contained = ~np.any(x[:, None] & ~x[None, :], axis=2)
    assert not np.any(contained[:, :, None] & above[:, None] & ~above[None, :])


def test_prepared_the_same_inside_a_jit():
    graph, inputs = figure1()
    system = Neurashed(graph)

    def words():
        return system.prepare(inputs.x, inputs.y).words

    np.testing.assert_array_equal(jax.jit(words)(), words())
