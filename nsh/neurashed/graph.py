"""The graph: levels of feature nodes, their dependents and firing rules, and the class nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_integer, require_numeric
from nsh._shown import Summary

MOST_TABLE_DEPENDENTS = 20


class Node(NamedTuple):
    """A feature node of a middle level, for `Graph.from_nodes`.

    `dependents`: indices of nodes of the level just below. `fires`: when the node fires, given
    which dependents do: ``"any"``, ``"all"``, an integer k (at least k of them), or a truth table,
    a sequence of 2**len(dependents) bools (or 0 and 1) whose entry
    ``sum_i 2**i [dependent i fires]`` decides.

    Example:
        A node that fires if both of two nodes below do, and one with a truth table (xor):

        >>> nsh.Node((0, 1), "all")
        Node(dependents=(0, 1), fires='all')
        >>> nsh.Node((0, 1), [False, True, True, False]).fires
        [False, True, True, False]
    """

    dependents: Sequence[int]
    fires: str | int | Sequence[bool] | Sequence[int] = "any"


class Graph(Summary):
    """Feature nodes in levels 1..L-1 and class nodes in level L (arXiv 2112.09741, Section 2).

    Nodes are numbered through all feature levels, lowest first. Edges are kept sparse, as parallel
    arrays of sources and targets sorted by target, so memory is O(nodes + edges + table entries).
    A node's firing code is ``sum_edges stride * [source fires]``: with stride 1 it counts firing
    dependents and is compared with a threshold (any = 1, all = fan-in); with strides 2**i it is
    the index into the node's truth table.

    A pytree (arrays are leaves; widths and classes are static): graphs of one shape share one
    compiled program. Build it with `from_nodes` or `from_arrays`, which check it.

    Example:
        >>> level2 = [nsh.Node((0, 1), "all"), nsh.Node((1, 2), "any")]
        >>> nsh.Graph.from_nodes(3, [level2], classes=[(0,), (0, 1)])
        Graph(levels=[3, 2], edges=4, classes=2, class_edges=3)
    """

    sources: Int[Array, " edges"]
    targets: Int[Array, " edges"]
    strides: Int[Array, " edges"]
    thresholds: Int[Array, " nodes"]
    table_starts: Int[Array, " nodes"]
    tables: Bool[Array, " entries"]
    class_sources: Int[Array, " class_edges"]
    class_targets: Int[Array, " class_edges"]
    widths: tuple[int, ...] = eqx.field(static=True)
    edge_counts: tuple[int, ...] = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    @property
    def nodes(self) -> int:
        """Number of feature nodes, all levels together."""
        return sum(self.widths)

    def summary(self) -> str:
        """One line: nodes of each level, edges, classes, nodes with a truth table."""
        levels = ", ".join(map(str, self.widths))
        counts = {"edges": sum(self.edge_counts), "classes": self.classes}
        counts["class_edges"] = self.class_sources.shape[-1]
        line = ", ".join(f"{name}={count}" for name, count in counts.items())
        return f"Graph(levels=[{levels}], {line})"

    @property
    def class_edges(self) -> int:
        """Number of edges from level L-1 to class nodes."""
        return self.class_sources.shape[0]

    def node_slice(self, level: int) -> slice:
        """Return the slice of a feature level's nodes (1 = lowest) in arrays over all nodes."""
        require_integer("level", level, 1, len(self.widths))
        start = sum(self.widths[: level - 1])
        return slice(start, start + self.widths[level - 1])

    def edge_slice(self, level: int) -> slice:
        """Return the slice of the edges into a feature level in `sources` and `targets`."""
        require_integer("level", level, 1, len(self.widths))
        start = sum(self.edge_counts[: level - 1])
        return slice(start, start + self.edge_counts[level - 1])

    def node_levels(self) -> Int[np.ndarray, " nodes"]:
        """Level of every node, counted from 0."""
        return np.repeat(np.arange(len(self.widths), dtype=np.int32), self.widths)

    @classmethod
    def from_nodes(
        cls, inputs: int, levels: Sequence[Sequence[Node]], classes: Sequence[Sequence[int]]
    ) -> Graph:
        """A graph written out node by node.

        `inputs`: width of level 1. `levels`: the nodes of levels 2..L-1. `classes`: for each
        class, the nodes of level L-1 wired to it. Raises `ValueError` or `TypeError` naming level,
        node, value and what is allowed.
        """
        dependents, fires, tables = [], [], {}
        for number, level in enumerate(levels, start=2):
            _check_nodes(level, number)
            require(len(level) > 0, f"level {number}", list(level), "not empty")
            lists = [
                _index_list(node.dependents, f"level {number}, node {i}")
                for i, node in enumerate(level)
            ]
            thresholds = np.zeros(len(level), np.int64)
            for i, (node, sources) in enumerate(zip(level, lists, strict=True)):
                firing = _firing(node.fires, len(sources), f"level {number}, node {i}")
                if isinstance(firing, int):
                    thresholds[i] = firing
                else:
                    tables[number, i] = firing
            dependents.append(_flatten(lists))
            fires.append(thresholds)
        class_lists = [_index_list(sources, f"class {j}") for j, sources in enumerate(classes)]
        class_edges = _flatten(class_lists)
        return cls.from_arrays(inputs, dependents, fires, class_edges, len(classes), tables)

    @classmethod
    def from_arrays(
        cls,
        inputs: int,
        dependents: Sequence[tuple[ArrayLike, ArrayLike]],
        thresholds: Sequence[ArrayLike],
        class_edges: tuple[ArrayLike, ArrayLike],
        classes: int,
        tables: Mapping[tuple[int, int], ArrayLike] | None = None,
    ) -> Graph:
        """A graph from edge arrays; a second or so for 100,000 nodes and 1,000,000 edges.

        For each of the levels 2..L-1: `dependents` holds ``(sources, targets)``, indices within
        the level below and within the level; `thresholds` the least number of firing dependents
        for each node. `class_edges` = (nodes of level L-1, classes). `tables` maps
        (level, node) to a truth table, which replaces the node's threshold. Raises as `from_nodes`.
        """
        widths = [require_integer("inputs (the width of level 1)", inputs, 1)]
        require_integer("classes", classes, 1)
        require(
            len(dependents) == len(thresholds),
            "levels of thresholds", len(thresholds), f"{len(dependents)}, as of dependents",
        )  # fmt: skip
        tables = dict(tables or {})
        _check_table_places(tables, [np.size(nodes) for nodes in thresholds])
        sources, targets, strides, limits = [], [], [], [np.zeros(inputs, np.int64)]
        for number, (edges, threshold) in enumerate(zip(dependents, thresholds, strict=True), 2):
            threshold = _integers(threshold, f"level {number}, thresholds")
            require(threshold.size > 0, f"level {number}", [], "not empty")
            source, target = _sorted_edges(edges, widths[-1], threshold.size, f"level {number}")
            fan_in = np.bincount(target, minlength=threshold.size)
            _check_firing(threshold, fan_in, number, tables)
            position = np.arange(target.size) - np.repeat(np.cumsum(fan_in) - fan_in, fan_in)
            has_table = np.zeros(threshold.size, bool)
            has_table[[node for level, node in tables if level == number]] = True
            strides.append(np.where(has_table[target], 1 << position * has_table[target], 1))
            sources.append(source + sum(widths[:-1]))
            targets.append(target + sum(widths))
            limits.append(threshold)
            widths.append(threshold.size)
        class_source, class_target = _sorted_edges(class_edges, widths[-1], classes, "class level")
        missing = np.setdiff1d(np.arange(classes), class_target)
        for unwired in missing[:1]:
            require(False, f"class {unwired}: nodes", [], "wired to at least one node")
        starts, entries = _lay_out_tables(tables, widths)
        as_int = lambda parts: jnp.asarray(np.concatenate([*parts, []]), jnp.int32)  # noqa: E731
        return cls(
            sources=as_int(sources),
            targets=as_int(targets),
            strides=as_int(strides),
            thresholds=as_int(limits),
            table_starts=as_int([starts]),
            tables=jnp.asarray(entries),
            class_sources=as_int([class_source + sum(widths[:-1])]),
            class_targets=as_int([class_target]),
            widths=tuple(widths),
            edge_counts=(0, *(part.size for part in sources)),
            classes=int(classes),
        )


def _check_nodes(level: Any, number: int) -> None:
    is_list = isinstance(level, Sequence) and not isinstance(level, Node | str)
    require(is_list, f"levels[{number - 2}]", level, "a list of Nodes")
    for i, node in enumerate(level):
        require(isinstance(node, Node), f"level {number}, node {i}", node, "a Node")


def _integers(values: ArrayLike, field: str) -> np.ndarray:
    array = require_numeric(field, values)
    require(array.ndim == 1, f"{field}.shape", array.shape, "one-dimensional")
    require(array.dtype.kind in "iu" or array.size == 0, f"{field}.dtype", str(array.dtype), "int")
    return array.astype(np.int64)


def _index_list(values: Any, place: str) -> np.ndarray:
    is_list = isinstance(values, Iterable) and not isinstance(values, str)
    require(is_list, f"{place}: dependents", values, "a list of indices")
    values = list(values)
    require(len(values) > 0, f"{place}: dependents", values, "at least one node")
    return _integers(values, f"{place}: dependents")


def _flatten(lists: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    counts = [len(sources) for sources in lists]
    flat = np.concatenate(lists) if lists else np.zeros(0, np.int64)
    return flat, np.repeat(np.arange(len(lists)), counts)


def _firing(fires: object, fan_in: int, place: str) -> int | np.ndarray:
    named = {"any": 1, "all": fan_in}
    if isinstance(fires, str):
        require(fires in named, f"{place}: fires", fires, "'any', 'all', an integer or a table")
        return named[fires]
    if isinstance(fires, Sequence | np.ndarray):
        return np.asarray(fires)
    return require_integer(f"{place}: fires (at least k)", fires, 1, fan_in)


def _sorted_edges(
    edges: tuple[ArrayLike, ArrayLike], below: int, width: int, place: str
) -> tuple[np.ndarray, np.ndarray]:
    """Edges sorted by target, the order of each node's dependents kept."""
    source, target = (_integers(part, f"{place}: edges") for part in edges)
    require(
        source.size == target.size,
        f"{place}: number of targets", target.size, f"{source.size}, as of sources",
    )  # fmt: skip
    unknown_target = np.flatnonzero((target < 0) | (target >= width))
    for edge in unknown_target[:1]:
        require(False, f"{place}: target of edge {edge}", int(target[edge]), f"in 0..{width - 1}")
    order = np.argsort(target, kind="stable")
    source, target = source[order], target[order]
    for edge in np.flatnonzero((source < 0) | (source >= below))[:1]:
        field = f"{place}, node {target[edge]}: dependent"
        require(False, field, int(source[edge]), f"a node of the level below, 0..{below - 1}")
    by_pair = np.sort(target * below + source)
    for repeated in by_pair[1:][by_pair[1:] == by_pair[:-1]][:1]:
        node, dependent = divmod(int(repeated), below)
        require(False, f"{place}, node {node}: dependent", dependent, "given once, not repeated")
    return source, target


def _check_firing(
    threshold: np.ndarray, fan_in: np.ndarray, level: int, tables: dict[tuple[int, int], ArrayLike]
) -> None:
    for node in np.flatnonzero(fan_in == 0)[:1]:
        require(False, f"level {level}, node {node}: dependents", [], "at least one node")
    plain = np.ones(threshold.size, bool)
    for (number, node), table in tables.items():
        if number != level:
            continue
        plain[node] = False
        place = f"level {level}, node {node}: truth table"
        count = int(fan_in[node])
        allowed = f"at most {MOST_TABLE_DEPENDENTS} with a truth table"
        field = f"level {level}, node {node}: fan-in"
        require(count <= MOST_TABLE_DEPENDENTS, field, count, allowed)
        values = require_numeric(place, table)
        require(values.dtype.kind in "biu", f"{place} dtype", str(values.dtype), "bool, or 0 and 1")
        require_all((values == 0) | (values == 1), place, values, "True or False")
        require(
            values.shape == (2**count,),
            f"{place} shape", values.shape, f"({2**count},), 2**fan-in entries",
        )  # fmt: skip
    for node in np.flatnonzero(plain & ((threshold < 1) | (threshold > fan_in)))[:1]:
        field = f"level {level}, node {node}: threshold"
        require(False, field, int(threshold[node]), f"in 1..{fan_in[node]} (its fan-in)")


def _check_table_places(tables: dict[tuple[int, int], ArrayLike], middle: list[int]) -> None:
    for level, node in tables:
        known = 2 <= level < len(middle) + 2 and 0 <= node < middle[level - 2]
        require(known, "truth table of (level, node)", (level, node), "a node of a middle level")


def _lay_out_tables(
    tables: dict[tuple[int, int], ArrayLike], widths: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Truth tables end to end, and where each node's begins (-1: the node has a threshold)."""
    starts, entries, used = np.full(sum(widths), -1), [np.zeros(1, bool)], 1
    for (level, node), table in tables.items():
        values = np.asarray(table, bool)
        starts[sum(widths[: level - 1]) + node] = used
        entries.append(values)
        used += values.size
    require_all(np.array(used < 2**31), "truth table entries", used, "fewer than 2**31 in all")
    return starts, np.concatenate(entries)
