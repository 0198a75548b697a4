"""Where an image has its channels, said once: before height and width, or behind them."""

from __future__ import annotations

from typing import Literal

from nsh._checks import require

ChannelsAt = Literal["first", "last"]


def check_channels_at(channels_at: object) -> None:
    """Raise `ValueError` unless it is one of the two."""
    allowed = "'first' for [channels, height, width] or 'last' for [height, width, channels]"
    require(channels_at in ("first", "last"), "channels_at", channels_at, allowed)


def sides(
    shape: tuple[int, ...], channels_at: ChannelsAt, field: str = "x.shape"
) -> tuple[int, int]:
    """The axes of height and width of one image, which may have no axis of channels."""
    check_channels_at(channels_at)
    allowed = f"one image: (height, width), or with channels {channels_at}; jax.vmap adds axes"
    require(len(shape) in (2, 3), field, shape, allowed)
    return (1, 2) if len(shape) == 3 and channels_at == "first" else (0, 1)
