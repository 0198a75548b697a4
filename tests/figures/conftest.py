from collections.abc import Iterator

import pytest
from matplotlib.axes import Axes

from nsh.figures import new_figure


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes that are drawn at the end, where every warning is an error."""
    figure, axes = new_figure(width="double")
    yield axes[0, 0]
    figure.draw_without_rendering()


@pytest.fixture
def bare_ax() -> Axes:
    return new_figure()[1][0, 0]
