"""The frame of every experiment's figure: style, panels, their letters and captions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from nsh.figures import new_figure, panel_label, style

Draw = Callable[[xr.Dataset, np.ndarray], None]


class DrawnPanels:
    """A figure of a dataset; `captions` says what its panels show, by letter."""

    def __init__(self, draw: Draw, frame: Callable[[xr.Dataset], Any], captions: Sequence[str]):
        self.draw, self.frame = draw, frame
        self.captions = dict(zip(ascii_lowercase, captions, strict=False))
        functools.update_wrapper(self, draw)

    def __call__(self, dataset: xr.Dataset) -> Figure:
        """Draw all panels."""
        with style():
            drawn, axes, lettered = self.frame(dataset)
            self.draw(dataset, axes.ravel())
            for letter, panel in zip(self.captions, lettered.flat, strict=True):
                panel_label(panel, letter)
        return drawn


def panels(
    rows: int | str, columns: int | str, captions: Sequence[str], *, height: float, **options: Any
) -> Callable[[Draw], DrawnPanels]:
    """Make a figure of a function that draws a dataset on axes [rows * columns].

    `rows` or `columns` may be the name of a dimension, of which each entry has one; the first is
    lettered. `captions`: one for each letter. `height` is a row's; `options` are those of
    `new_figure`.
    """
    lettered = [size if isinstance(size, int) else 1 for size in (rows, columns)]
    if len(captions) != np.prod(lettered):
        raise ValueError(f"captions: {len(captions)} for {np.prod(lettered)} panels")

    def frame(dataset: xr.Dataset) -> tuple[Figure, np.ndarray, np.ndarray]:
        sizes = [dataset.sizes[n] if isinstance(n, str) else n for n in (rows, columns)]
        drawn, axes = new_figure(*sizes, width="double", height=height * sizes[0], **options)
        return drawn, axes, axes[: lettered[0], : lettered[1]]

    return lambda draw: DrawnPanels(draw, frame, captions)
