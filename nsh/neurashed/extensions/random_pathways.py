"""Random pathways: in every step some nodes of a sample's pathway do not fire."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh.bounds import Interval
from nsh.neurashed.extensions.extension import (
    Extended,
    Extension,
    ExtensionHyper,
    check_number,
    model,
    number,
    own_key,
)
from nsh.neurashed.pathway_model import PathwayModel
from nsh.neurashed.prepared import Pathways, recomputed
from nsh.system import Transition


class RandomPathwaysHyper(ExtensionHyper):
    """Hyperparameters of `RandomPathways`: the chance `rate` to drop a node; 0 switches it off.

    Raises `ValueError` outside 0..1. No derivative by `rate`: what fires jumps.

    Example:
        >>> from nsh.neurashed.extensions import RandomPathwaysHyper
        >>> rules = nsh.Rules(nsh.Geometric(1.5), nsh.Geometric(0.5))
        >>> RandomPathwaysHyper(rules, rate=0.25).rate.item()
        0.25
    """

    intervals: ClassVar[dict[str, Interval]] = {"rate": (0.0, 1.0)}
    inner: PyTree
    rate: Float[Array, "..."] = eqx.field(converter=number)

    def __check_init__(self):
        check_number("rate", self.rate, 0.0, 1.0, "a probability in 0..1")


class RandomPathways(Extension):
    """Dropout of nodes: each node of each sample's pathway is dropped with a chance, in each step.

    A dropped node does not fire, and what depends on it is decided without it, level by level.
    Independent over nodes, samples of the mini-batch and steps; class nodes stay. Logits and
    features are without dropout. (arXiv 2112.09741, Section 4, names random pathways; this reading
    is ours.) `hyper`: `RandomPathwaysHyper`. Steps compose where the inner system's do.

    Example:
        With rate 1 no feature fires, so all factors shrink:

        >>> from nsh.neurashed import Constant, figure4
        >>> from nsh.neurashed.extensions import RandomPathways, RandomPathwaysHyper
        >>> graph, inputs = figure4()
        >>> system = RandomPathways(nsh.Neurashed(graph, Constant(1.0)))
        >>> hyper = RandomPathwaysHyper(nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5)), rate=1.0)
        >>> state, key = system.init(jax.random.key(0), hyper), jax.random.key(1)
        >>> after = system.step(state, system.prepare(inputs.x, inputs.y), hyper, key)
        >>> jnp.exp(after.inner.log_amplification[:3]).round(4).tolist()
        [0.5, 0.5, 0.5]
    """

    inner: PathwayModel | Extension
    place: ClassVar[int] = 1
    kind: ClassVar[type] = RandomPathwaysHyper

    def step(
        self, state: Extended, batch: Pathways, hyper: RandomPathwaysHyper, key: Key[Array, ""]
    ) -> Extended:
        """The inner system's step on thinned pathways."""
        thinned = self._thinned(batch, hyper, key)
        return Extended(self.inner.step(state.inner, thinned, hyper.inner, key), None)

    def transition(
        self,
        batch: Pathways,
        hyper: RandomPathwaysHyper,
        iteration: Int[Array, ""],
        key: Key[Array, ""],
    ) -> Transition:
        """The inner system's, on thinned pathways; raises `ValueError` as that does."""
        thinned = self._thinned(batch, hyper, key)
        return _Inside(self.inner.transition(thinned, hyper.inner, iteration, key))

    def _thinned(
        self, batch: Pathways, hyper: RandomPathwaysHyper, key: Key[Array, ""]
    ) -> Pathways:
        inside = model(self.inner)
        graph, ends, samples = inside.graph, inside.ends(), batch.words.shape[0]
        # drawn in one row: many times faster to compile on CPUs
        drawn = jax.random.uniform(own_key(key, self), (samples * graph.nodes,), hyper.rate.dtype)
        keep = (drawn >= hyper.rate).reshape(samples, graph.nodes)

        def one(words: Array, keep: Array) -> Array:
            return recomputed(graph, ends, words, inside.edge_firing, keep)

        return Pathways(jax.vmap(one)(batch.words, keep))


class _Inside(Transition):
    """A map of the inner state."""

    inner: Transition

    def then(self, later: _Inside) -> _Inside:
        return _Inside(self.inner.then(later.inner))

    def __call__(self, state: Extended) -> Extended:
        return Extended(self.inner(state.inner), state.own)
