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

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments.extensions.claims import claims
from experiments.extensions.config import FULL, TINY, Config
from experiments.extensions.figure import figure
from experiments.extensions.variants import Variants, edges, extensions
from experiments.harness.dataset import dataset
from nsh import (
    Geometric,
    Rules,
    SaveAt,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
)
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
from nsh.study.progress import Progress
from nsh.training import Snapshot

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


FEATURES = """
    effective_features: batch way seed [features]
    elasticity: way seed pairs [1]
    batch_size: batch [samples]
"""
INFORMATION = """
    input label: way seed step [bit]
    step: step [backpropagations]
"""


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All variants of training on both graphs."""
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
    results, labels, key = [], jnp.asarray(task.inputs.y), jax.random.key(config.seed)
    groups = [extend(config, task.graph, rules, start, config.steps) for rules, start, _ in cases]
    for variants, (_, _, size) in zip(groups, cases, strict=True):
        examples = variants.system.prepare(task.inputs.x, task.inputs.y)
        sampler = VariableSize(WithReplacement(max(sizes)), size)
        members = config.seeds * len(variants.names)
        with progress(f"{variants.names[-1]}, batches of {size}", members) as advance:
            final = _final(variants, examples, labels, sampler, key, config.seeds, config.steps)
            results.append(jax.device_get(final))
            advance(members)
    (small, _), (large, _), (_, elasticity) = results
    values = {"effective_features": np.stack([small, large]), "elasticity": elasticity}
    names = {"way": list(groups[0].names), "pairs": ["within", "across"]}
    return dataset(FEATURES, values, **names, batch=["small", "large"], batch_size=list(sizes))


# compiling is most of the cost, so it goes without some optimisations, here without any
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore
def _final(
    variants: Variants,
    examples: Pathways,
    labels: Array,
    sampler: VariableSize,
    key: Key[Array, ""],
    seeds: int,
    steps: int,
) -> tuple[Float[Array, "way seed"], Float[Array, "way seed pairs"]]:
    """After training: effective features of level 2, and mean elasticities within and across."""
    run_key, update_key = jax.random.split(key)
    problem = TrainingProblem(
        variants.system, examples, variants.hyper, steps=steps, sampler=sampler, grid_ndim=1
    )
    states = ensemble(problem, run_key, seeds=seeds).state

    def one(state: PyTree, hyper: PyTree, key: Key[Array, ""]) -> tuple[Array, Array]:
        level2 = observe(variants.system, state, examples).features[-1]
        # each seed's updates with a key of its own, as they may be random
        matrix = elasticity_matrix(variants.system, state, hyper, examples, key)
        contrast = elasticity_contrast(matrix, labels)
        pairs = jnp.stack([contrast.within_class, contrast.across_classes])
        return effective_features(level2), pairs

    over_seeds = jax.vmap(one, (0, None, 0))
    return jax.vmap(over_seeds, (0, 0, None))(
        states, variants.hyper, jax.random.split(update_key, seeds)
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
        information = level_information(
            now.system, now.state, self.examples, self.labels, self.key,
            level=2, classes=2, noise=self.noise, samples=self.samples,
        )  # fmt: skip
        return information.input, information.label


def _on_figure4(config: Config, extend: Any, progress: Progress) -> xr.Dataset:
    """The information bottleneck."""
    task, steps = figure4(), config.bottleneck_steps
    variants = extend(config, task.graph, figure4_rules(task.graph), Uniform(0.0, 0.01), steps)
    examples = variants.system.prepare(task.inputs.x, task.inputs.y)
    run_key, noise_key = jax.random.split(jax.random.key(config.seed))
    noise = Noise(config.noise_fixed, config.noise_relative)
    what = Level2(examples, jnp.asarray(task.inputs.y), noise_key, noise, config.samples)
    save = SaveAt(what, every=max(steps // config.records, 1))
    members = config.seeds * len(variants.names)
    with progress(f"{variants.names[-1]}, information", members) as advance:
        saved = jax.device_get(_watched(variants, examples, save, run_key, config.seeds, steps))
        advance(members)
    values = {"input": saved[0], "label": saved[1]}
    return dataset(INFORMATION, values, way=list(variants.names), step=save.times_within(steps))


@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 1})  # pyright: ignore
def _watched(
    variants: Variants,
    examples: Pathways,
    save: SaveAt,
    key: Key[Array, ""],
    seeds: int,
    steps: int,
) -> tuple[Float[Array, "way seed time"], Float[Array, "way seed time"]]:
    """What is recorded along the runs."""
    problem = TrainingProblem(
        variants.system, examples, variants.hyper, steps=steps, save=save, grid_ndim=1
    )
    return ensemble(problem, key, seeds=seeds).saved
