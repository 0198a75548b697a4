"""Graphs: NetworkX and back, size in memory, and sharing of compiled programs."""

import io
import json
import tracemalloc
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx
import numpy as np
import oracle
import pytest
from oracle_graphs import to_nsh

from nsh import Graph, Neurashed, Node
from nsh.neurashed import (
    feature_pathway,
    figure1,
    figure2,
    figure3,
    figure4,
    figure6,
    from_networkx,
    random_hierarchy,
    to_networkx,
)
from nsh.neurashed.pathway import word_count

pytestmark = pytest.mark.core

BUILDERS = [figure1, figure2, figure3, figure4, figure6]


def by_file(write, read, network):
    file = io.BytesIO()
    write(network, file)
    file.seek(0)
    return read(file)


def by_json(network):
    data = networkx.node_link_data(network, edges="links")
    return networkx.node_link_graph(json.loads(json.dumps(data)), edges="links")


def mixed_up(network, seed=0):
    """The same nodes and edges, listed in another order."""
    random = np.random.default_rng(seed)
    nodes, edges = list(network.nodes(data=True)), list(network.edges(data=True))
    result = networkx.DiGraph()
    result.add_nodes_from(nodes[i] for i in random.permutation(len(nodes)))
    result.add_edges_from(edges[i] for i in random.permutation(len(edges)))
    return result


def retyped(convert):
    """Every whole number of a network as another tool writes it."""

    def change(network):
        for _, attributes in [
            *network.nodes(data=True),
            *((0, e[2]) for e in network.edges.data()),
        ]:
            attributes |= {
                key: convert(int(value))
                for key, value in attributes.items()
                if str(value).isdecimal()
            }
        return network

    return change


@pytest.mark.parametrize(
    "exchange",
    [
        lambda network: network,
        mixed_up,
        by_json,
        partial(by_file, networkx.write_graphml, networkx.read_graphml),
        partial(by_file, networkx.write_gexf, networkx.read_gexf),
        partial(by_file, partial(networkx.write_gml, stringizer=str), networkx.read_gml),
        *map(retyped, (str, float, lambda i: f"{i}.0", np.int16, np.float32)),
    ],
    ids=[*("memory", "mixed", "JSON", "GraphML", "GEXF", "GML"), *map(str, range(5))],
)
@pytest.mark.parametrize("seed", range(5))
def test_networkx_and_back(exchange, seed):
    graph = to_nsh(oracle.random_graph(seed, (12, 11, 4), (3, 2), 2, 3))
    # weights belong to class edges by their number
    order = np.lexsort((np.random.default_rng(seed).random(graph.class_edges), graph.class_targets))
    graph = eqx.tree_at(lambda g: g.class_sources, graph, graph.class_sources[order])
    assert graph.tables.size > 1
    assert eqx.tree_equal(from_networkx(exchange(mixed_up(to_networkx(graph), seed))), graph)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_figures_go_to_networkx_and_back(build):
    graph = build().graph
    assert eqx.tree_equal(from_networkx(to_networkx(graph)), graph)


def test_networkx_written_by_hand():
    network = networkx.DiGraph()
    for name in ("round eye", "dark circle", "black ear", "tail"):
        network.add_node(name, level=1)
    network.add_node("cat head", level=2)  # fires with any, by default
    network.add_node("panda head", level=2, fires="all")
    network.add_node("odd", level=2, fires=(False, True, True, False))
    network.add_node("cat", level=3)
    network.add_node("panda", level=3)
    network.add_edge("round eye", "cat head")
    network.add_edge("tail", "cat head")
    network.add_edge("dark circle", "panda head")
    network.add_edge("black ear", "panda head")
    network.add_edge("black ear", "odd")
    network.add_edge("tail", "odd")
    network.add_edges_from([("cat head", "cat"), ("odd", "cat"), ("panda head", "panda")])
    wanted = Graph.from_nodes(
        4,
        [[Node((0, 3)), Node((1, 2), "all"), Node((2, 3), (False, True, True, False))]],
        [(0, 2), (1,)],
    )
    assert eqx.tree_equal(from_networkx(network), wanted)
    exported = to_networkx(wanted)
    assert exported.nodes[2, 1] == {"level": 2, "order": 1, "fires": "2"}
    assert exported.nodes[2, 2] == {"level": 2, "order": 2, "fires": "FTTF"}
    for table in (
        [0, 1, 1, 0],
        "[False, True, True, False]",
        "(0, 1, 1, 0)",
        np.array([0.0, 1, 1, 0]),
    ):
        network.nodes["odd"]["fires"] = table
        assert eqx.tree_equal(from_networkx(network), wanted)
    assert list(exported.predecessors((3, 0))) == [(2, 0), (2, 2)]
    assert exported.edges[(1, 3), (2, 2)] == {"order": 1}


def test_a_graph_is_shown_as_one_line_also_inside_others():
    graph = Graph.from_nodes(3, [[Node((0, 1)), Node((1, 2))]], [(0,), (0, 1)])
    line = "Graph(levels=[3, 2], edges=4, classes=2, class_edges=3)"
    assert repr(graph) == line
    assert f"graph={line}" in repr(Neurashed(graph))
    assert repr(jax.eval_shape(lambda: graph)) == line


def test_nodes_and_arrays_build_the_same_graph():
    nodes = [Node((2, 0), "all"), Node((1,)), Node((0, 1), (0, 0, 1, 0))]
    written = Graph.from_nodes(3, [nodes], [(0, 1), (2,)])
    arrays = Graph.from_arrays(
        3,
        [(np.array([1, 2, 0, 0, 1]), np.array([1, 0, 2, 0, 2]))],  # in any order of targets
        [[2, 1, 0]],
        ([2, 0, 1], [1, 0, 0]),
        2,
        {(2, 2): [False, False, True, False]},
    )
    assert eqx.tree_equal(written, arrays)


def test_a_hundred_thousand_nodes_in_bounded_memory():
    rng, width, fan_in = np.random.default_rng(0), 25_000, 10
    steps = rng.integers(1, 2_000, (width, fan_in))  # distinct sources for each target
    sources = (np.arange(width)[:, None] + np.cumsum(steps, axis=1)) % width
    edges = sources.ravel(), np.repeat(np.arange(width), fan_in)
    tracemalloc.start()
    graph = Graph.from_arrays(
        width, [edges] * 4, [np.full(width, 3)] * 4, (np.arange(width), np.arange(width) % 10), 10
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert graph.nodes == 125_000
    assert graph.sources.shape == (1_000_000,)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(graph))
    assert size <= 4 * (3 * 1_000_000 + 2 * graph.nodes + 2 * width) + 1
    assert peak <= 150 * (1_000_000 + graph.nodes)
    x = np.zeros((2, width), bool)
    x[1, : width // 2] = True
    examples = Neurashed(graph).prepare(x, [0, 9])
    # nodes and classes, and source and target of each edge to a class
    words = word_count(graph.nodes + 10) + 2 * word_count(width)
    assert examples.words.shape == (2, words)
    # of the input's own level, the half that fires; above, what has enough of it below
    above = np.bincount(edges[1], x[1][edges[0]], width) >= 3
    bits = np.unpackbits(np.asarray(examples.words).view(np.uint8), axis=1, bitorder="little")
    np.testing.assert_array_equal(bits[1, :width], x[1])
    np.testing.assert_array_equal(bits[1, width : 2 * width], above)
    assert bits[0, : graph.nodes + 10].sum() == 1  # its class alone


def test_graphs_of_one_shape_share_a_program_and_can_be_vmapped():
    graphs = [to_nsh(oracle.random_graph(seed, (6, 5, 4), (3, 2), 2, 3)) for seed in range(3)]
    traces = []

    @jax.jit
    def fires(graph, x):
        traces.append(graph)
        return jax.vmap(feature_pathway, (None, 0))(graph, x)

    x = jnp.asarray(np.random.default_rng(0).random((16, 6)) < 0.5)
    one_by_one = jnp.stack([fires(graph, x) for graph in graphs])
    assert len(traces) == 1
    assert np.any(one_by_one[0] != one_by_one[1])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *graphs)
    together = jax.jit(jax.vmap(lambda g: jax.vmap(feature_pathway, (None, 0))(g, x)))(stacked)
    np.testing.assert_array_equal(together, one_by_one)


SIZES = {"classes": 3, "subclasses": 4, "shared": (10, 6, 4), "specific": (8, 5, 3)}


def owners(level):
    common, own = SIZES["shared"][level], SIZES["specific"][level]
    return np.concatenate([np.full(common, -1), np.repeat(np.arange(3), own)])


@pytest.fixture(scope="module")
def hierarchy():
    return random_hierarchy(jax.random.key(5), fan_in=3, noise=0.25, active=0.6, **SIZES)


def test_hierarchy_is_shared_as_asked(hierarchy):
    graph = hierarchy.graph
    assert graph.widths == (34, 21, 13)
    for level in (2, 3):
        edges = graph.edge_slice(level)
        source = np.asarray(graph.sources[edges]) - graph.node_slice(level - 1).start
        target = np.asarray(graph.targets[edges]) - graph.node_slice(level).start
        below, above = owners(level - 2)[source], owners(level - 1)[target]
        # a class's own node: on its own nodes and shared ones; a shared node: on shared ones
        assert np.all((below == above) | (below == -1))
        fan_in = np.bincount(target, minlength=graph.widths[level - 1])
        np.testing.assert_array_equal(fan_in, 3)
        has_own = np.bincount(target, below == above, graph.widths[level - 1])
        assert np.all(has_own >= 1)
        thresholds = np.asarray(graph.thresholds[graph.node_slice(level)])
        assert set(thresholds) == {1, 2, 3}
    wired = set(
        zip(np.asarray(graph.class_sources) - 55, np.asarray(graph.class_targets), strict=True)
    )
    assert wired == {(f, j) for f in range(13) for j in range(3) if owners(2)[f] in (-1, j)}


def test_hierarchy_prototypes(hierarchy):
    x, y = np.asarray(hierarchy.inputs.x), np.asarray(hierarchy.inputs.y)
    np.testing.assert_array_equal(y, np.repeat(np.arange(3), 4))
    allowed = (owners(0) == -1) | (owners(0) == y[:, None])
    assert not np.any(x & ~allowed)
    assert np.all((x & (owners(0) == y[:, None])).any(axis=1))
    assert abs(x[allowed].mean() - 0.6) <= 4 * np.sqrt(0.24 / allowed.sum())


def test_hierarchy_is_a_function_of_its_key():
    same = [random_hierarchy(jax.random.key(7), **SIZES) for _ in range(2)]
    other = random_hierarchy(jax.random.key(8), **SIZES)
    assert eqx.tree_equal(*same)
    assert not np.array_equal(same[0].graph.sources, other.graph.sources)
    one_level = random_hierarchy(jax.random.key(7), shared=(0,), specific=(4,), least_firing=1)
    assert one_level.graph.widths == (16,)
    least = random_hierarchy(jax.random.key(7), least_firing=2, **SIZES).graph
    assert set(np.asarray(least.thresholds[34:]).tolist()) == {2}


def test_hierarchy_reaches_the_top():
    task = random_hierarchy(jax.random.key(1), least_firing=1, active=1.0, noise=0.0)
    pathways = jax.jit(jax.vmap(feature_pathway, (None, 0)))(task.graph, task.inputs.x)
    top = np.asarray(pathways[:, task.graph.node_slice(3)])
    of = np.concatenate([np.full(4, -1), np.repeat(np.arange(4), 3)])
    # with every node of a class on and any one enough, its own top nodes fire, others' may not
    assert np.all(top[(of == np.asarray(task.inputs.y)[:, None]) | (of == -1)])


def test_sampler_frequencies(hierarchy):
    count, prototypes = 24_000, len(hierarchy.inputs.y)
    inputs = eqx.filter_jit(hierarchy.inputs.sample)(jax.random.key(0), count)
    x, y, which = (np.asarray(part) for part in inputs)
    np.testing.assert_array_equal(y, np.asarray(hierarchy.inputs.y)[which])
    share = np.bincount(which, minlength=prototypes) / count
    p = 1 / prototypes
    assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / count))
    flipped = x ^ np.asarray(hierarchy.inputs.x)[which]
    assert np.all(np.abs(flipped.mean(axis=0) - 0.25) <= 4.5 * np.sqrt(0.1875 / count))
    noiseless = figure4().inputs.sample(jax.random.key(0), 50)
    np.testing.assert_array_equal(noiseless.x, figure4().inputs.x[np.asarray(noiseless.prototype)])
