"""Neurashed beyond the paper: which of its three phenomena outlive a change of the model?

The outlook (arXiv 2112.09741, Section 4) names edges that fire instead of nodes, random g+ and g-,
random pathways and pathways that adapt to what is learned; rewiring is ours. Each is trained
beside plain neurashed, from the same starts and (edges apart) on the same mini-batches:

- implicit regularization: effective number of features of level 2 (of scores, averaged over the
  samples) after training on large batches, less that after small ones. On Figure 6's graph, whose
  features belong to eight, four, two samples or one, from all but equal starts;
- information bottleneck: fall of I(level 2; input) from the peak of its mean over seeds to the
  end, and I(level 2; label) at the end (Figure 4, batches of one);
- local elasticity: ``(w - a) / (w + a)``, w and a its means within and across classes, under
  updates of the extension's own kind, with its own chance (Figure 6, batches of one). In trials
  with eight seeds w - a was that of one seed, and w / a not always finite; hence the share.

All extensions but the first are one system with all of them nested, each switched on in turn, or
all at once: switched off, each is the inner system to the bit. Sizes of the extensions were chosen
before any result was seen, and are the same in all tasks.

What comes of it: implicit regularization and local elasticity outlive every extension, and are the
weakest where nodes are dropped. Level 2 forgets about the input in all of them, but only random
pathways keep all of the label, soft firing most of it; with random rates and where edges fire it
fades, and with rewiring nearly all is lost, so that forgetting there is no bottleneck. Why was not
tested; for rewiring, nodes presumably come to depend on the features that all inputs share. Where
edges fire, information is the highest at the start: scores of level 2 are one small factor then,
not the product of two, and stand out from the noise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments.extensions.claims import claims
from experiments.extensions.figure import figure
from experiments.extensions.ways import UpTo, Way, edges, extensions
from experiments.harness.progress import Progress
from nsh import Geometric, Rules, SaveAt, TrainingProblem, ensemble
from nsh.measure import (
    Noise,
    effective_features,
    elasticity_contrast,
    elasticity_matrix,
    level_information,
    observe,
)
from nsh.neurashed import (
    Pathways,
    Uniform,
    figure4,
    figure4_rules,
    figure6,
    figure6_rules,
)
from nsh.training import Snapshot

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the runs, and of the extensions."""

    seeds: int = 64
    """Runs of every model on every task."""
    batch_sizes: tuple[int, int] = (1, 16)
    """Small and large, for implicit regularization."""
    growth: float = 1.02
    """Factor of g+ in that task, as in the experiment `implicit_regularization`."""
    decay: float = 0.9
    """Factor of g- in that task."""
    steps: int = 50
    """Steps on Figure 6's graph."""
    bottleneck_steps: int = 2000
    """Steps on Figure 4's graph."""
    records: int = 40
    """Times at which information is measured, the start aside."""
    samples: int = 16
    """Monte Carlo draws for each input."""
    noise_fixed: float = 1e-4
    """Of information, in units of scores, as in the experiment `information_bottleneck`."""
    noise_relative: float = 0.05
    """Of information, over the level's largest score."""
    spread: float = 0.5
    """Random rates: standard deviation of log rates, per step and, once more, frozen."""
    dropout: float = 0.2
    """Random pathways: chance to drop a node."""
    threshold: float = -2.0
    """Soft firing: log score, below the level's largest, of firing at half strength."""
    temperature: float = 1.0
    """Soft firing: log scores over which the strength fades."""
    rewirings: int = 10
    """Rewiring: equally spaced times in each run."""
    faded: float = 0.1
    """Rewiring: share of the level's largest amplification factor below which one has faded."""
    seed: int = 0


FULL = Config(seeds=4096, records=100, samples=64)
TINY = Config(seeds=4, steps=10, bottleneck_steps=20, records=2, samples=2, rewirings=2)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All ways of training on both graphs."""
    parts = [
        part(config, extend, progress)
        for extend in (extensions, edges)
        for part in (_on_figure6, _on_figure4)
    ]
    return xr.merge([xr.concat(pair, "way") for pair in zip(parts[:2], parts[2:], strict=True)])


def _on_figure6(config: Config, extend: Any, progress: Progress) -> xr.Dataset:
    """Implicit regularization and local elasticity, by the same program."""
    task, sizes = figure6(), config.batch_sizes
    growth, decay = Geometric(config.growth), Geometric(config.decay)
    equal = Rules(Geometric(np.full(task.graph.nodes, config.growth)), decay, growth)
    # from all but equal starts, what differs in the end was made by training
    narrow, wide = Uniform(0.005, 0.0051), Uniform(0.0, 0.01)
    cases = [(equal, narrow, size) for size in sizes]
    cases.append((figure6_rules(task.graph), wide, 1))
    found = []
    for rules, start, size in cases:
        way = extend(config, task.graph, rules, start, config.steps)
        examples = way.system.prepare(task.inputs.x, task.inputs.y)
        sampler, key = UpTo(jnp.asarray(size), max(sizes)), jax.random.key(config.seed)
        members = config.seeds * len(way.names)
        with progress(f"{way.names[-1]}, batches of {size}", members) as advance:
            labels = jnp.asarray(task.inputs.y)
            result = _final(way, examples, labels, sampler, key, config.seeds, config.steps)
            found.append(jax.device_get(result))
            advance(members)
    (small, _), (large, _), (_, elasticity) = found
    return xr.Dataset(
        {
            "effective_features": (
                ("batch", "way", "seed"), np.stack([small, large]), {"units": "features"}
            ),
            "elasticity": (("way", "seed", "pairs"), elasticity, {"units": "1"}),
        },
        {
            "way": list(way.names),
            "pairs": ["within", "across"],
            "batch": ["small", "large"],
            "batch_size": ("batch", list(sizes), {"units": "samples"}),
        },
    )  # fmt: skip


# compiling is most of the cost, so it goes without some optimisations, here without any
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore
def _final(
    way: Way, examples: Pathways, labels: Array, sampler: UpTo, key: Key[Array, ""], seeds: int,
    steps: int,
) -> tuple[Float[Array, "way seed"], Float[Array, "way seed pairs"]]:  # fmt: skip
    """After training: effective features of level 2, and mean elasticities within and across."""
    run_key, update_key = jax.random.split(key)
    silent = Pathways(jnp.concatenate([examples.words, jnp.zeros_like(examples.words[:1])]))
    problem = TrainingProblem(
        way.system, silent, way.hyper, steps=steps, sampler=sampler, grid_ndim=1
    )
    states = ensemble(problem, run_key, seeds=seeds).state

    def one(state: PyTree, hyper: PyTree, key: Key[Array, ""]) -> tuple[Array, Array]:
        level2 = observe(way.system, state, examples).features[-1]
        # each seed's updates with a key of its own, as they may be random
        matrix = elasticity_matrix(way.system, state, hyper, examples, key)
        contrast = elasticity_contrast(matrix, labels)
        pairs = jnp.stack([contrast.within_class, contrast.across_classes])
        return effective_features(level2), pairs

    over_seeds = jax.vmap(one, (0, None, 0))
    return jax.vmap(over_seeds, (0, 0, None))(
        states, way.hyper, jax.random.split(update_key, seeds)
    )


class Level2(eqx.Module):
    """What is recorded on Figure 4: I(level 2; input) and I(level 2; label)."""

    examples: Pathways
    labels: Int[Array, " n"]
    key: Key[Array, ""]
    noise: Noise
    samples: int = eqx.field(static=True)

    def __call__(self, now: Snapshot) -> tuple[Array, Array]:
        """Both, in bits; the draws are common to all steps."""
        found = level_information(
            now.system, now.state, self.examples, self.labels, self.key,
            level=2, classes=2, noise=self.noise, samples=self.samples,
        )  # fmt: skip
        return found.input, found.label


def _on_figure4(config: Config, extend: Any, progress: Progress) -> xr.Dataset:
    """The information bottleneck."""
    task, steps = figure4(), config.bottleneck_steps
    way = extend(config, task.graph, figure4_rules(task.graph), Uniform(0.0, 0.01), steps)
    examples = way.system.prepare(task.inputs.x, task.inputs.y)
    run_key, noise_key = jax.random.split(jax.random.key(config.seed))
    noise = Noise(config.noise_fixed, config.noise_relative)
    what = Level2(examples, jnp.asarray(task.inputs.y), noise_key, noise, config.samples)
    save, members = (
        SaveAt(what, every=max(steps // config.records, 1)),
        config.seeds * len(way.names),
    )
    with progress(f"{way.names[-1]}, information", members) as advance:
        saved = jax.device_get(_watched(way, examples, save, run_key, config.seeds, steps))
        advance(members)
    dims, times = ("way", "seed", "step"), np.asarray(save.times_within(steps))
    bits = zip(("input", "label"), saved, strict=True)
    return xr.Dataset(
        {name: (dims, values, {"units": "bit"}) for name, values in bits},
        {"way": list(way.names), "step": ("step", times, {"units": "backpropagations"})},
    )


@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 1})  # pyright: ignore
def _watched(
    way: Way, examples: Pathways, save: SaveAt, key: Key[Array, ""], seeds: int, steps: int
) -> tuple[Float[Array, "way seed time"], Float[Array, "way seed time"]]:
    """What is recorded along the runs."""
    problem = TrainingProblem(way.system, examples, way.hyper, steps=steps, save=save, grid_ndim=1)
    return ensemble(problem, key, seeds=seeds).saved
