"""What tests of studies share."""

import pytest

from nsh.study import run as run_module


@pytest.fixture
def no_figure(monkeypatch):
    """Figures take their time, and are tested elsewhere."""
    monkeypatch.setattr(run_module, "save_figure", lambda figure, directory: None)
    monkeypatch.setattr(run_module, "draw", lambda dataset: None)
