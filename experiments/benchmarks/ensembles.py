"""Training ensembles of neurashed: a graph of 10,240 nodes, and that of Figure 4."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import Geometric, Neurashed, Rules, TrainingProblem, WithReplacement, ensemble, train
from nsh._fingerprint.surroundings import device
from nsh.neurashed import Constant, figure4, figure4_rules, random_hierarchy, unpack
from nsh.training import ClosedForm, FixedBatches, Method, Sequential

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.ensembles"
NUMPY, TORCH = "experiments.benchmarks.numpy_peers", "experiments.benchmarks.torch_peers"
CHECKED_SEEDS, CHECKED_STEPS = 3, 50
INDICES_AT_ONCE = 250  # what is quickest on CPUs


@dataclasses.dataclass(frozen=True)
class Large:
    """Sizes of the large graph's case."""

    shared: tuple[int, ...] = (2000, 1000, 240)
    """Features all classes share, for each level."""
    specific: tuple[int, ...] = (400, 200, 100)
    """Features of each class of its own, for each level."""
    samples: int = 1000
    batch: int = 32
    seeds: int = 16
    steps: int = 1000


@dataclasses.dataclass(frozen=True)
class Small:
    """Sizes of the case of Figure 4's graph."""

    batch: int = 1
    seeds: int = 4096
    steps: int = 2000


QUICK = Large((20, 10, 5), (4, 2, 1), samples=20, batch=3, seeds=2, steps=5), Small(1, 4, 5)


def cases(large: Large, small: Small) -> list[Case]:
    """Both cases."""
    return [
        Case(
            "large-graph",
            "ensemble of a random hierarchy trained, sampling included",
            _contenders(dataclasses.asdict(large), Contender("plain JAX", f"{HERE}:plain")),
            (Target("NumPy", "nsh", reach=15), Target("PyTorch", "nsh", reach=10),
             Target("plain JAX", "nsh"), Target("nsh", "nsh, closed form")),
            f"{HERE}:data", 1e-5,
        ),
        Case(
            "figure-4",
            "ensemble of Figure 4's graph trained, sampling included",
            _contenders(
                dataclasses.asdict(small), Contender("index sampling alone", f"{HERE}:sampling")
            ),
            (Target("NumPy", "nsh", reach=5), Target("PyTorch", "nsh", reach=5),
             Target("nsh", "index sampling alone"),
             Target("nsh, closed form", "index sampling alone")),
            f"{HERE}:data", 1e-5,
        ),
    ]  # fmt: skip


def _contenders(sizes: dict[str, Any], other: Contender) -> tuple[Contender, ...]:
    return (
        Contender("nsh", f"{HERE}:ours", sizes),
        Contender("NumPy", f"{NUMPY}:neurashed", sizes, peer="peers"),
        Contender("PyTorch", f"{TORCH}:neurashed", sizes, peer="peers"),
        Contender("nsh, closed form", f"{HERE}:counted", sizes),
        dataclasses.replace(other, sizes=sizes),
    )


def task(
    *, samples: int = 8, shared: Any = (), specific: Any = (), **_others: int
) -> tuple[Neurashed, Any, Rules]:
    """System, examples and rules: a random hierarchy, or without sizes of one Figure 4."""
    if not shared:
        graph, inputs = figure4()
        system = Neurashed(graph)
        return system, system.prepare(inputs.x, inputs.y), figure4_rules(graph)
    graph, prototypes = random_hierarchy(
        jax.random.key(0), classes=10, shared=shared, specific=specific
    )
    x, y, _ = prototypes.sample(jax.random.key(1), samples)
    system = Neurashed(graph)
    rules = Rules(Geometric(np.full(graph.nodes, 1.06)), Geometric(0.99), Geometric(1.06))
    return system, system.prepare(x, y), rules


def data(*, batch: int, **sizes: Any) -> Data:
    """What peers need to know: which nodes fire for which sample, edges to classes, rates."""
    system, examples, rules = task(**sizes)
    graph = system.graph
    bits = np.asarray(unpack(examples.words, graph.nodes + graph.classes))
    weight_growth, weight_decay = rules.for_weights()
    logs = {"growth": rules.growth, "decay": rules.decay,
            "weight_growth": weight_growth, "weight_decay": weight_decay}  # fmt: skip
    shape = (CHECKED_STEPS, CHECKED_SEEDS, batch)
    return {
        "fires": bits[:, : graph.nodes],
        "is_class": bits[:, graph.nodes :],
        "class_sources": np.asarray(graph.class_sources),
        "class_targets": np.asarray(graph.class_targets),
        "check_indices": np.random.default_rng(1).integers(0, len(bits), shape),
        **{f"log_{name}": np.log(np.asarray(rule.factor)) for name, rule in logs.items()},  # pyright: ignore
    }


def counted(data: Data, **sizes: Any) -> Work:
    """nsh's `ensemble` by `ClosedForm`, which gives final states only."""
    return ours(data, ClosedForm(), **sizes)


def ours(
    data: Data,
    method: Method = Sequential(),  # noqa: B008, an immutable value
    *,
    seeds: int,
    steps: int,
    batch: int,
    **sizes: Any,
) -> Work:
    """nsh's `ensemble`."""
    system, examples, rules = task(**sizes)
    sampler = WithReplacement(batch)

    def run(system: Any, examples: Any, rules: Any, key: Any) -> Any:
        problem = TrainingProblem(system, examples, rules, steps=steps, sampler=sampler)
        return ensemble(problem, key, seeds=seeds, method=method).state

    def check() -> Data:
        indices = jnp.asarray(data["check_indices"], jnp.int32)
        known = Neurashed(system.graph, Constant(1.0), Constant(1.0))

        def one(indices: Any) -> Any:
            problem = TrainingProblem(
                known, examples, rules, steps=len(indices), sampler=FixedBatches(indices)
            )
            return train(problem, jax.random.key(0), method=method).state

        final = jax.vmap(one, in_axes=1)(indices)
        return {
            "node": np.asarray(final.log_amplification), "edge": np.asarray(final.log_weight)
        }  # fmt: skip

    return compiled(run, system, examples, rules, jax.random.key(0), check=check)


def plain(data: Data, *, seeds: int, steps: int, batch: int, **_: Any) -> Work:
    """What a JAX user would write: bools gathered and joined by any, in one jitted scan."""
    arrays = {name: jnp.asarray(array) for name, array in data.items()}

    def union(table: Any, indices: Any) -> Any:
        return jnp.any(table[indices], axis=0)

    def one(arrays: dict[str, Any], key: Any) -> Any:
        nodes, edges = arrays["log_growth"].shape[0], arrays["class_sources"].shape[0]
        node_key, edge_key, key = jax.random.split(key, 3)

        def step(state: Any, number: Any) -> Any:
            indices = jax.random.randint(
                jax.random.fold_in(key, number), (batch,), 0, len(arrays["fires"])
            )
            fired = union(arrays["fires"], indices)
            classes = union(arrays["is_class"], indices)
            both = fired[arrays["class_sources"]] & classes[arrays["class_targets"]]
            node = state[0] + jnp.where(fired, arrays["log_growth"], arrays["log_decay"])
            rates = arrays["log_weight_growth"], arrays["log_weight_decay"]
            return (node, state[1] + jnp.where(both, *rates)), None

        start = (
            jnp.log(0.01 * jax.random.uniform(node_key, (nodes,))),
            jnp.log(0.01 * jax.random.uniform(edge_key, (edges,))),
        )
        return jax.lax.scan(step, start, jnp.arange(steps))[0]

    def run(arrays: Any, key: Any) -> Any:
        return jax.vmap(one, in_axes=(None, 0))(arrays, jax.random.split(key, seeds))

    return compiled(run, arrays, jax.random.key(0))


def sampling(_: Data, *, seeds: int, steps: int, batch: int, samples: int = 8) -> Work:
    """nsh's sampler alone, drawing as many indices: their sums, so that none goes unused."""
    sampler = WithReplacement(batch)
    blocks = -(-steps // INDICES_AT_ONCE)

    def one(key: Any) -> Any:
        def block(total: Any, first: Any) -> Any:
            indices, _ = sampler.draw(None, first, steps // blocks, key, samples)
            return total + jnp.sum(indices), None

        starts = steps // blocks * jnp.arange(blocks, dtype=jnp.int32)
        return jax.lax.scan(block, jnp.zeros((), jnp.int32), starts)[0]

    mesh = Mesh(np.asarray(jax.devices()), ("seeds",))
    split = NamedSharding(mesh, PartitionSpec("seeds"))

    @partial(jax.shard_map, mesh=mesh, in_specs=split.spec, out_specs=split.spec, check_vma=False)
    def run(keys: Any) -> Any:
        return jax.vmap(one)(keys)

    return compiled(run, jax.device_put(jax.random.split(jax.random.key(0), seeds), split))
