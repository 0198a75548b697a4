"""How the phenomena scale: random hierarchies of 10 to 100,000 nodes (a question of our own).

How information, local elasticity and sparsity depend on the size of the graph, on its depth, on
the share of nodes that all classes share, and on batch size; with exact theory where there is one:
growth and survival of every feature (`nsh.neurashed.exact.feature`), and what fires in a random
hierarchy (`nsh.neurashed.exact.hierarchy_firing`), from which the limit of large graphs follows.

In short: features, elasticity and information follow the laws. In the long run all is left to the
features that fire in every step; one of them in the top level is enough to hide the label. So the
more is shared, the larger the graph and the smaller the batch, the less is left at the end.

The top level has four nodes at any size, so that its information is that of four numbers and is
estimated to about 0.01 bits; the input is one of eight equally likely types, four of each of two
classes, as in Figure 4 of the paper. Every seed is a graph and a run of its own.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from experiments.harness.dataset import dataset
from experiments.scaling_law.claims import claims
from experiments.scaling_law.config import FULL, TINY, Config
from experiments.scaling_law.figure import figure
from experiments.scaling_law.measures import (
    CLASSES,
    LABELS,
    TYPES,
    TYPES_OF_A_CLASS,
    UPDATED,
    Layout,
    batches,
    layout,
    log_elasticity_ratio,
    log_logits,
    see,
    top_information,
    visits,
)
from experiments.scaling_law.theory import firing_tables, wide_limit
from nsh import Geometric, Rules
from nsh.measure import Noise
from nsh.neurashed import GraphAndInputs, random_hierarchy
from nsh.study.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


TABLE = """
    always: condition seed [features]
    own_second other_second within_second own_top other_top within_top: condition seed [1]
    log_elasticity_early log_elasticity_final log_elasticity_typical: condition seed [1]
    survivors survivors_exact log_growth log_growth_exact: condition seed time [1]
    effective_number: condition seed time [features]
    input label: condition seed time [bits]
    input_typical label_typical: condition seed [bits]
    survivors_limit: condition time [1]
    always_limit: condition [features]
    input_limit: condition [bits]
    log_elasticity_limit own_top_limit other_top_limit within_second_limit: condition [1]
    within_top_limit: condition [1]
    time: time [steps]
"""


class Condition(NamedTuple):
    """One point of the study."""

    size: int
    depth: int
    sharing: float
    batch: int


def conditions(config: Config) -> list[Condition]:
    """The base condition varied along one axis at a time, each once."""
    base = Condition(config.size, config.depth, config.sharing, config.batch_size)
    axes = config.sizes, config.depths, config.sharings, config.batch_sizes
    varied = [
        base._replace(**{name: value})
        for name, values in zip(Condition._fields, axes, strict=True)
        for value in values
    ]
    return list(dict.fromkeys([*varied, base]))


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All conditions, those of one shape of graph together: they share a program."""
    points = conditions(config)
    shapes: dict[tuple[int, int], list[Condition]] = {}
    for point in points:
        shapes.setdefault(point[:2], []).append(point)
    found: dict[Condition, list[dict[str, Any]]] = {point: [] for point in points}
    with progress("scaling law", len(points) * config.seeds) as advance:
        for group in shapes.values():
            drawn = batches([point.batch for point in group])
            members = jnp.asarray(drawn.members)
            for seed in range(config.seeds):
                tasks: dict[Layout, GraphAndInputs] = {}
                for point, chances in zip(group, drawn.chances, strict=True):
                    plan = layout(*point[:3])
                    if plan not in tasks:
                        tasks[plan] = _task(config, plan, seed)
                    random = np.random.default_rng([config.seed, seed, *point[:2], point.batch])
                    counts = visits(random, chances, config.times, config.early)
                    found[point].append(
                        _one(config, point, tasks[plan], members, jnp.asarray(counts))
                    )
                    advance(1)
    names = found[points[0]][0]
    values = {name: np.array([[r[name] for r in found[p]] for p in points]) for name in names}
    values |= _information(config, values.pop("log_top"))
    return _dataset(config, points, values)


def _task(config: Config, plan: Layout, seed: int) -> GraphAndInputs:
    """A random graph and the types of its input."""
    return random_hierarchy(
        jax.random.fold_in(jax.random.key(config.seed), seed), classes=CLASSES,
        subclasses=TYPES_OF_A_CLASS, shared=plan.shared, specific=plan.specific,
        fan_in=plan.fan_in, active=config.active, noise=0.0,
    )  # fmt: skip


def _one(
    config: Config, point: Condition, task: GraphAndInputs, members: Array, counts: Array
) -> dict[str, Any]:
    """What a run on one graph comes to."""
    rules = Rules(Geometric(config.growth), Geometric(config.decay))
    x = jnp.asarray(task.inputs.x)
    fires, seen = jax.device_get(see(task.graph, x, members, rules, counts))
    tables = _tables(config)
    return (
        _structure(layout(*point[:3]), fires)
        | _state_measures(config, seen.log_growth, fires.sum(0), tables[point.batch])
        | _readout(config, seen.log_top, seen.log_weight)
    )


def _tables(config: Config) -> dict[int, np.ndarray]:
    sizes = tuple(sorted({*config.batch_sizes, config.batch_size}))
    return firing_tables(sizes, config.growth, config.decay, config.times)


def _structure(plan: Layout, fires: np.ndarray) -> dict[str, Any]:
    """How often the classes' own nodes fire: of the top level and, for pairs, level 2."""
    ends = np.cumsum(plan.widths)
    pairs = [(i, j) for i, j in combinations(range(TYPES), 2) if LABELS[i] == LABELS[j]]
    found: dict[str, Any] = {"always": fires.all(0).sum()}
    for name, level in (("second", 1), ("top", len(ends) - 1)):
        of_level = fires[:, ends[level] - plan.widths[level] : ends[level]]
        owned = of_level[:, plan.shared[level] :].reshape(TYPES, CLASSES, -1)
        mine = LABELS[:, None] == np.arange(CLASSES)
        found[f"own_{name}"], found[f"other_{name}"] = owned[mine].mean(), owned[~mine].mean()
        found[f"within_{name}"] = np.mean(
            [(owned[i, LABELS[i]] != owned[j, LABELS[j]]).mean() for i, j in pairs]
        )
    return found


def _state_measures(
    config: Config, log_growth: np.ndarray, fired: np.ndarray, tables: np.ndarray
) -> dict[str, Any]:
    """Survival, growth and sparsity of a run, with their exact expectations for its graph."""
    times = len(config.times)
    relative = log_growth[:times].astype(float)
    weight = np.exp(relative - relative.max(1, keepdims=True))
    counts = np.bincount(fired, minlength=TYPES + 1) / fired.size
    survival, growth = tables
    return {
        "survivors": (relative > 0).mean(1),
        "survivors_exact": counts @ survival,
        "log_growth": relative.mean(1),
        "log_growth_exact": counts @ growth,
        "effective_number": weight.sum(1) ** 2 / (weight**2).sum(1),
    }


def _readout(config: Config, log_top: np.ndarray, log_weight: np.ndarray) -> dict[str, Any]:
    """Scores of the top level, and the local elasticity of the logits."""
    times, steps = len(config.times), len(UPDATED)
    logits = log_logits(log_top.astype(float), log_weight.astype(float))
    # each state that is learnt from, and the first of those one step later
    starts = {
        "early": (config.times.index(config.early), times),
        "final": (times - 1, times + steps),
        "typical": (times + 2 * steps, times + 2 * steps + 1),
    }
    return {"log_top": log_top[[*range(times), starts["typical"][0]]]} | {
        f"log_elasticity_{name}": log_elasticity_ratio(logits[at], logits[after : after + steps])
        for name, (at, after) in starts.items()
    }


def _information(config: Config, log_top: np.ndarray) -> dict[str, np.ndarray]:
    """Information of the top level at all times, and that of the typical run."""
    rows = jnp.asarray(log_top.reshape(-1, *log_top.shape[-2:]))
    bits = np.asarray(top_information(rows, Noise(), jax.random.key(config.seed)))
    bits = bits.reshape(*log_top.shape[:3], 2)
    return {
        f"{of}{kind}": bits[:, :, at, place]
        for place, of in enumerate(("input", "label"))
        for kind, at in (("", slice(None, -1)), ("_typical", -1))
    }


def _dataset(config: Config, points: list[Condition], values: dict[str, np.ndarray]) -> xr.Dataset:
    tables = _tables(config)
    limits = [
        wide_limit(
            layout(*point[:3]), tables[point.batch][0], config.active, config.growth, config.decay
        )
        for point in points
    ]
    values |= {f"{name}_limit": np.array([one[name] for one in limits]) for name in limits[0]}
    made = dataset(TABLE, values, time=list(config.times))
    axes = zip(Condition._fields, zip(*points, strict=True), strict=True)
    return made.assign_coords({name: ("condition", list(entries)) for name, entries in axes})
