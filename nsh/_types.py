"""Types that several packages use in their signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from jaxtyping import Array

if TYPE_CHECKING:
    from jax.typing import DTypeLike
    from numpy.typing import ArrayLike

    Arrays: TypeAlias = tuple[Array, ...]
else:
    # where annotations are checked as a program runs: our own errors name the field and its value
    ArrayLike = DTypeLike = object
    Arrays = Sequence[object]

__all__ = ["ArrayLike", "Arrays", "DTypeLike"]
