"""The README's code runs as it stands."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parent.parent / "README.md"


def test_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names = {}
    exec("\n".join(blocks), names)
    run = names["run"]
    assert run.saved.shape == (10_000, 51, 7)
    assert (np.asarray(run.status) == 0).all()
    assert (tmp_path / "amplification.png").stat().st_size > 10_000
    assert names["found"].mode == "closed form"
    assert 0 < names["by_log_rate"].standard_error.growth.factor < 5
    gradient = names["jax"].grad(names["mean_log_amplification"])(1.06)
    # at every step node 0, one of the four samples' nodes and one of the classes' fire, whichever
    # they are: 3 of 7 log factors grow by log(growth)
    np.testing.assert_allclose(gradient, 500 * 3 / 7 / 1.06, rtol=1e-4)
    assert names["point"].universality == "half-stable"
    assert names["jax"].grad(names["vertex"])(names["point"].C_W) > 0
    assert names["infinite"].error < 1e-5
    assert names["error"](1.0) < names["error"](32.0)
    assert names["jax"].grad(names["error"])(1.0) > 0
    assert names["kernel"].shape == (16, 16)
    assert names["of_data"].quality.recovered > 0.7
    (agreement,) = names["of_network"].agreement
    assert agreement > 0.3
    assert names["chance"].widths == names["of_network"].graph.widths
