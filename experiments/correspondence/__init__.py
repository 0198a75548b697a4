"""Which unit of a real network is a feature node? Neurashed on graphs read off trained networks.

The neurashed paper leaves it open which unit of a network a feature node stands for (arXiv
2112.09741, Section 4). Here a graph is made of each trained network (`nsh.correspondence`), with
nodes = units, filters or clusters of co-firing units, and neurashed is trained on it with the very
mini-batches that the network saw. Through training we compare, within each seed:

- pathways: which nodes of level 2 fire in the graph, and which are active in the network (phi);
- amplification factors, and scores, with the strength of the network's nodes (rank correlation);
- local elasticity between probes, information of both levels, sparsity against batch size;

each also on graphs with shuffled edges and on random graphs, and against what needs no neurashed:
how often a node is active, how much the first levels of two inputs overlap. Level 1 is given (the
firing of the trained network), so what it says is the same for all three graphs.

With geometric rules the order of amplification factors within a level is that of the numbers of
mini-batches in which the nodes fired, whatever the rates are.

The answer at default size: none of the three stands for a feature node in all respects. Single
units come closest, clusters next, filters hardly above chance: units fire in the graph as in the
network (phi 0.50 in the MLP, 0.46 in the CNN; null models 0.02) and those that neurashed amplifies
are strong (rank correlation 0.71 and 0.54; null models 0.47 and 0.27). But that is firing
frequency, which alone does better (0.83 and 0.69). Local elasticity in neurashed is no nearer to
the network's than in null models; there, nearness in pixels says more than shared units do. What
is seen is neurashed's premise: units that fire often come to have the large outgoing weights.
All this is the same with rates a quarter of these; whether sparsity follows batch size is not.
Rates here grow as fast as they decay. Where growth is eleven times as fast, elasticity is nearer to
the network's than in null models, though farther than nearness in pixels (notebook 8; tried after
this answer was seen).
Edges are those of co-firing: by weights, which are recorded too, graphs fire less as the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from experiments.correspondence.claims import claims
from experiments.correspondence.config import FULL, TINY, Config
from experiments.correspondence.figure import figure
from experiments.correspondence.graphs import (
    EDGES,
    GRAPHS,
    KINDS,
    Nodes,
    graphs_of,
    nodes_of,
    room_for,
    stacked,
)
from experiments.correspondence.measures import MEASURES, compare
from experiments.correspondence.training import (
    Setting,
    all_information,
    train_networks,
    train_neurashed,
)
from experiments.harness.dataset import dataset
from nsh.correspondence.units import mean_over_members
from nsh.data import Digits, digits
from nsh.measure import Noise
from nsh.networks import digit_cnn, digit_mlp
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Graph
from nsh.study.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]

COMPARED = """
    pathways: seed edges graph step [1]
    amplification score: seed edges graph measure step level [1]
    frequency: seed measure step level [1]
    elasticity accuracy: seed edges graph step [1]
    effective: seed edges graph step [features]
    overlap nearness: seed step [1]
"""
INFORMATION = "input label: seed step level [bit]"


class Task(NamedTuple):
    """What all parts share."""

    config: Config
    data: Digits
    setting: Setting
    key: Key[Array, ""]


class Trained(NamedTuple):
    """A network, all seeds: recordings; activations of the training set and weights in the end."""

    saved: dict[str, Any]
    features: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]


class Fed(NamedTuple):
    """All graphs of one kind [seeds * edges * graphs], and level 1 of the samples [seeds, ...]."""

    graphs: Graph
    train_bits: np.ndarray
    test_bits: np.ndarray


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Train networks, make graphs of them, train neurashed on these, and compare."""
    task = _task(config)
    networks, parts = {}, []
    for name in ("MLP", "CNN"):
        with progress(f"correspondence, {name}", None):
            networks[name], found = _network(task, name)
        parts.append(found)
    with progress("correspondence, graphs", None):
        made = {kind: _graphs(task, networks[kind.split()[0]], kind) for kind in KINDS}
    room, compared = room_for([graphs[0] for _, graphs in made.values()]), []
    with progress("correspondence, neurashed", len(KINDS)) as advance:
        for kind, (nodes, graphs) in made.items():
            network = networks[kind.split()[0]]
            fed = _fed(nodes, network, stacked(graphs, room))
            compared.append(_compared(task, nodes, network, fed))
            if kind == "MLP units":
                parts.append(_sparsity(task, fed, compared[-1]))
            advance(1)
    parts.append(xr.concat(compared, dim=xr.Variable("kind", list(KINDS))))
    steps = np.arange(config.records + 1) * task.setting.every
    names = {"edges": list(EDGES), "graph": list(GRAPHS), "measure": list(MEASURES)}
    times = {"level": [1, 2], "step": ("step", steps, {"units": "backpropagations"})}
    return xr.merge(parts).assign_coords(names | times)


def _task(config: Config) -> Task:
    data, key = digits(), jax.random.key(config.seed)
    probes = [np.flatnonzero(data.train_y == c)[: config.per_class] for c in range(CLASSES)]
    setting = Setting(
        jnp.asarray(data.train_y), jnp.asarray(data.test_y[: config.test]),
        jnp.asarray(np.concatenate(probes), jnp.int32), config.growth,
        max(config.batch, *config.other_batches), config.steps, config.steps // config.records,
    )  # fmt: skip
    return Task(config, data, setting, key)


def _network(task: Task, name: str) -> tuple[Trained, xr.Dataset]:
    """All seeds of a network; its accuracy and information; the MLP's sparsity by batch size."""
    config, data = task.config, task.data
    is_mlp = name == "MLP"
    system = digit_mlp(config.hidden, "relu") if is_mlp else digit_cnn(config.channels)
    examples = system.prepare(data.train_x, data.train_y)
    test = system.prepare(data.test_x[: config.test], data.test_y[: config.test])
    sizes = (config.batch, *config.other_batches) if is_mlp else (config.batch,)
    hyper = {"optimiser": {"learning_rate": config.learning_rates[0 if is_mlp else 1]}}
    done = train_networks(
        task.setting, system, examples, test, hyper, sizes, task.key, config.seeds
    )
    effective = np.asarray(done[0]["effective"])[:, -1].reshape(len(sizes), config.seeds)
    trained = Trained(*jax.tree.map(lambda leaf: np.asarray(leaf[: config.seeds]), done))
    found = _information(task, trained.saved)
    found["accuracy"] = ("seed", "step"), trained.saved["accuracy"], {"units": "1"}
    found = found.rename({field: f"{name}_{field}" for field in found.data_vars})
    if is_mlp:
        found["network_effective"] = ("batch", "seed"), effective, {"units": "features"}
        found = found.assign_coords(batch=("batch", list(sizes), {"units": "samples"}))
    return trained, found


def _graphs(task: Task, network: Trained, kind: str) -> tuple[list[Nodes], list[Graph]]:
    """For each seed the nodes, and their graphs by `EDGES` and `GRAPHS`."""
    config, nodes, graphs = task.config, [], []
    for seed in range(config.seeds):
        levels, weights = ([leaf[seed] for leaf in part] for part in network[1:])
        nodes.append(nodes_of(kind, levels, config.channels, config.clusters))
        graphs += graphs_of(nodes[-1], levels, weights, task.data.train_y, config.fan_in, seed)
    return nodes, graphs


def _fed(nodes: list[Nodes], network: Trained, graphs: Graph) -> Fed:
    def padded(bits: list[np.ndarray]) -> np.ndarray:
        missing = graphs.widths[0] - bits[0].shape[1]
        return np.pad(np.stack(bits), ((0, 0), (0, 0), (0, missing)))

    test = [
        mean_over_members(now[-1], of.partition[0]) > of.thresholds[0]
        for now, of in zip(network.saved["features"][0], nodes, strict=True)
    ]
    return Fed(graphs, padded([of.fires[0] for of in nodes]), padded(test))


def _neurashed(task: Task, fed: Fed, graphs: np.ndarray, sizes: Sequence[int]) -> Any:
    """Recordings and test pathways of neurashed on graphs [seeds, copies], [sizes * seeds, ...]."""
    bits = jnp.asarray(fed.train_bits), jnp.asarray(fed.test_bits)
    which = jnp.asarray(graphs, jnp.int32)
    found = train_neurashed(task.setting, fed.graphs, bits, which, sizes, task.key)
    return jax.tree.map(np.asarray, found)


def _compared(task: Task, nodes: list[Nodes], network: Trained, fed: Fed) -> xr.Dataset:
    """Neurashed on all graphs of one kind against the networks they were made of."""
    seeds, shape = task.config.seeds, (task.config.seeds, len(EDGES), len(GRAPHS))
    graphs = np.arange(np.prod(shape)).reshape(seeds, -1)
    saved, fires = jax.tree.map(
        lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]),
        _neurashed(task, fed, graphs, (task.config.batch,)),
    )
    probes = np.asarray(task.setting.probes)
    pixels = task.data.train_x[probes]
    upper = fires[..., fed.graphs.widths[0] :]
    found = []
    for seed in range(seeds):
        theirs, ours = _at(network.saved, seed), _at(saved, seed)
        bits = fed.train_bits[seed][probes]
        found.append(compare(nodes[seed], theirs, ours, upper[seed], bits, pixels))
    values = {name: np.stack([one[name] for one in found]) for name in found[0]}
    values |= {name: saved[name] for name in ("accuracy", "effective")}
    cofiring = EDGES.index("cofiring")
    parts = [_information(task, _at(saved, np.s_[:, cofiring, g])) for g in range(len(GRAPHS))]
    return xr.merge([dataset(COMPARED, values), xr.concat(parts, dim="graph")])


def _at(saved: dict[str, Any], index: Any) -> dict[str, Any]:
    return jax.tree.map(lambda leaf: leaf[index], saved)


def _information(task: Task, saved: dict[str, Any]) -> xr.Dataset:
    """Information of both levels at all times, of recordings [seeds, times, ...]."""
    config = task.config
    noise = Noise(config.noise_fixed, config.noise_relative)
    # one width for all, and so one compiled program
    width = max(*config.hidden, 16 * config.channels[0], *config.clusters) + 1
    levels = []
    for level, features in enumerate(saved["features"]):
        flat = features.reshape(-1, *features.shape[2:])
        flat = np.pad(flat, ((0, 0), (0, 0), (0, width - flat.shape[-1])))
        unit = saved["log_units"][..., level].reshape(-1)
        bits = all_information(
            jnp.asarray(flat), jnp.asarray(unit), task.setting.test_labels, noise, config.samples
        )
        levels.append([np.asarray(part).reshape(features.shape[:2]) for part in bits])
    values = np.moveaxis(np.asarray(levels), 0, -1)
    return dataset(INFORMATION, {"input": values[0], "label": values[1]})


def _sparsity(task: Task, fed: Fed, compared: xr.Dataset) -> xr.Dataset:
    """Effective number of neurashed's features, of graphs by co-firing, at all batch sizes."""
    config, cofiring = task.config, EDGES.index("cofiring")
    shape = config.seeds, len(EDGES), len(GRAPHS)
    graphs = np.arange(np.prod(shape)).reshape(shape)[:, cofiring]
    # two sizes at once are as many runs as a comparison has, and share its compiled program
    saved, _ = _neurashed(task, fed, graphs, config.other_batches)
    others = saved["effective"][:, -1].reshape(-1, *graphs.shape)
    own = compared.effective.values[:, cofiring, :, -1]
    values = {"neurashed_effective": np.concatenate([own[None], others])}
    return dataset("neurashed_effective: batch seed graph [features]", values)
