"""Inputs to a graph: prototypes of which level-1 nodes fire, sampled with noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nsh._checks import (
    is_concrete,
    require,
    require_all,
    require_integer,
    require_labels,
    require_numeric,
)
from nsh._shown import Shown
from nsh._types import ArrayLike


class Inputs(NamedTuple):
    """Sampled inputs: what fires at level 1, the class, and the prototype each came from.

    Example:
        >>> from nsh.neurashed import Inputs, figure4
        >>> inputs = figure4().inputs.sample(jax.random.key(0), 5)
        >>> isinstance(inputs, Inputs), inputs.x.shape
        (True, (5, 13))
    """

    x: Bool[Array, "n inputs"]
    y: Int[Array, " n"]
    prototype: Int[Array, " n"]


class Prototypes(Shown):
    """A distribution of inputs: equally likely prototypes, each bit flipped with chance `noise`.

    `x` [prototypes, inputs], `y` classes and `subclass` (numbered over all classes; default: each
    prototype its own) of the prototypes. Sampling is jittable; not differentiable (bits).

    Example:
        >>> from nsh.neurashed import Prototypes
        >>> inputs = Prototypes([[1, 1, 0], [0, 1, 1]], y=[0, 1], noise=0.0)
        >>> sampled = inputs.sample(jax.random.key(0), 100)
        >>> bool((sampled.x == inputs.x[sampled.prototype]).all())
        True
    """

    x: Bool[Array | np.ndarray, "prototypes inputs"]
    y: Int[Array | np.ndarray, " prototypes"]
    subclass: Int[Array | np.ndarray, " prototypes"]
    noise: Float[Array, ""]

    def __init__(
        self, x: ArrayLike, y: ArrayLike, subclass: ArrayLike | None = None, noise: Any = 0.0
    ):
        x = require_numeric("x", x)
        require(x.ndim == 2 and len(x) > 0, "x.shape", x.shape, "(prototypes, inputs)")
        require_all((x == 0) | (x == 1), "x", x, "0 or 1 (fires or not)")
        self.x = x.astype(bool)
        self.y = require_labels(y, len(x))
        subclass = np.arange(len(x)) if subclass is None else subclass
        self.subclass = require_labels(subclass, len(x), field="subclass")
        if is_concrete(noise):
            require(0 <= noise <= 1, "noise", noise, "a probability in 0..1")
        self.noise = jnp.asarray(noise, dtype=float)

    def sample(self, key: Key[Array, ""], count: int) -> Inputs:
        """`count` independent inputs.

        Example:
            >>> from nsh.neurashed import Prototypes
            >>> Prototypes([[1, 1, 0]], y=[0]).sample(jax.random.key(0), 2).y.tolist()
            [0, 0]
        """
        require_integer("count", count, 1)
        which_key, flip_key = jax.random.split(key)
        which = jax.random.randint(which_key, (count,), 0, len(self.x), jnp.int32)
        flip = jax.random.bernoulli(flip_key, self.noise, (count, self.x.shape[1]))
        x, y = jnp.asarray(self.x), jnp.asarray(self.y)
        return Inputs(x[which] ^ flip, y[which], which)
