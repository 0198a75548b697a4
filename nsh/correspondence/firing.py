"""When a node counts as firing in a network: its activation lies above a threshold."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from nsh._checks import require


class FiringThreshold(abc.ABC):
    """Thresholds for the nodes of one level; a node fires where its activation is above its own."""

    @abc.abstractmethod
    def thresholds(self, activations: Float[np.ndarray, "n nodes"]) -> Float[np.ndarray, " nodes"]:
        """A threshold for each node, from the activations of n samples."""

    def __call__(self, activations: Float[np.ndarray, "n nodes"]) -> Bool[np.ndarray, "n nodes"]:
        """What fires among the very samples that set the thresholds."""
        return activations > self.thresholds(activations)


@dataclasses.dataclass(frozen=True)
class Above(FiringThreshold):
    """The same threshold for all nodes; 0 is what "active" means for ReLU.

    Example:
        >>> from nsh.correspondence import Above
        >>> Above(0.0)(np.array([[-1.0, 2.0], [0.0, 1.0]])).tolist()
        [[False, True], [False, True]]
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        require(np.isfinite(self.value), "value", self.value, "a finite number")

    def thresholds(self, activations: Float[np.ndarray, "n nodes"]) -> Float[np.ndarray, " nodes"]:
        """See `FiringThreshold.thresholds`."""
        return np.full(activations.shape[1], self.value, activations.dtype)


@dataclasses.dataclass(frozen=True)
class FractionOfRange(FiringThreshold):
    """So far up from a node's least to its largest activation: ``min + share (max - min)``.

    Nodes of any mean activation fire for some samples and not for others, some more often than
    others; one that never varies does not fire.

    Example:
        >>> from nsh.correspondence import FractionOfRange
        >>> FractionOfRange(0.5)(np.array([[0.0], [1.0], [3.0], [4.0]])).ravel().tolist()
        [False, False, True, True]
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.share < 1, "share", self.share, "a share in [0, 1)")

    def thresholds(self, activations: Float[np.ndarray, "n nodes"]) -> Float[np.ndarray, " nodes"]:
        """See `FiringThreshold.thresholds`."""
        low, high = activations.min(axis=0), activations.max(axis=0)
        return (low + self.share * (high - low)).astype(activations.dtype)


@dataclasses.dataclass(frozen=True)
class TopFraction(FiringThreshold):
    """The `share` of samples with a node's largest activations: above its quantile ``1 - share``.

    All nodes fire equally often, but for ties, such as ReLU's at 0, which fire less.

    Example:
        >>> from nsh.correspondence import TopFraction
        >>> TopFraction(0.25)(np.array([[0.0], [1.0], [3.0], [4.0]])).ravel().tolist()
        [False, False, False, True]
    """

    share: float = 0.25

    def __post_init__(self) -> None:
        require(0 < self.share < 1, "share", self.share, "a share in (0, 1)")

    def thresholds(self, activations: Float[np.ndarray, "n nodes"]) -> Float[np.ndarray, " nodes"]:
        """See `FiringThreshold.thresholds`."""
        return np.quantile(activations, 1 - self.share, axis=0).astype(activations.dtype)
