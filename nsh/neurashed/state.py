"""The state of a model: logarithms that lose nothing in long runs, and the number of steps."""

from __future__ import annotations

from jaxtyping import Array, Float, Int

from nsh._shown import Shown
from nsh.neurashed.logspace import Compensated


class NeurashedState(Shown):
    """Log amplification factors (of nodes) and log weights of the edges to class nodes.

    Both are kept as sums with a rest, so that long runs lose nothing; plain arrays are taken too.

    Example:
        >>> from nsh.neurashed import NeurashedState
        >>> state = NeurashedState(jnp.log(jnp.array([1.0, 2.0])), jnp.zeros(1), jnp.asarray(0))
        >>> jnp.exp(state.log_amplification).round(4).tolist()
        [1.0, 2.0]
    """

    amplification: Compensated
    weight: Compensated
    iteration: Int[Array, "*n"]

    def __init__(
        self,
        log_amplification: Float[Array, "*n factors"] | Compensated,
        log_weight: Float[Array, "*n class_edges"] | Compensated,
        iteration: Int[Array, "*n"],
    ):
        self.amplification, self.weight = map(_compensated, (log_amplification, log_weight))
        self.iteration = iteration

    @property
    def log_amplification(self) -> Float[Array, "*n factors"]:
        """log lambda, of nodes."""
        return self.amplification.total

    @property
    def log_weight(self) -> Float[Array, "*n class_edges"]:
        """log eta, of the edges to class nodes."""
        return self.weight.total


def _compensated(log_x: Array | Compensated) -> Compensated:
    return log_x if isinstance(log_x, Compensated) else Compensated.of(log_x)
