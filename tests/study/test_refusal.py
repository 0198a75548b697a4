"""A store that is another study's, or none, is refused in words, and left as it is."""

import json
import threading

import jax.numpy as jnp
import numpy as np
import pytest
from studies import Swelling, files, number, swelling

from nsh import Epochs, SaveAt
from nsh._fingerprint import code
from nsh.study import StoreRefused, fingerprint, open_study, run_study
from nsh.study import run as run_module

STUDY = swelling(seeds=6)


@pytest.fixture
def begun(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "save_figure", lambda figure, directory: None)
    run_study(STUDY, tmp_path)
    return tmp_path


def other(now):
    """Records the same, but is another function."""
    return {"number": now.state + 0}


class Else(Swelling):
    """Another system."""


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seeds": 5}, "seeds: 6 there, 5 here; seeds can be added, not removed"),
        ({"steps": 30}, "steps: 20 there, 30 here; no states are kept"),
        ({"key": 1}, "key: 0 there, 1 here"),
        ({"hyper": {"threshold": 1.5}}, "hyper.threshold: 1.0 there, 1.5 here"),
        ({"grid": {"threshold": [1.0, 2.0]}}, "grid.threshold: nothing there, [1.0, 2.0] here"),
        ({"sampler": Epochs(2)}, "sampler.size: 1 there, 2 here"),
        ({"save": SaveAt(number, every=5)}, "save.every: 10 there, 5 here"),
        ({"save": SaveAt(other, every=10)}, "save.fn"),
        ({"system": Else()}, "system"),
    ],
)
def test_another_configuration_is_refused(begun, changes, difference):
    before = files(begun)
    with pytest.raises(StoreRefused, match=r"data\.zarr was begun with another config") as refused:
        run_study(swelling(**({"seeds": 6} | changes)), begun)
    assert difference in str(refused.value)
    assert files(begun) == before
    assert {path.name for path in begun.iterdir()} == {"data.zarr"}


@pytest.mark.parametrize(
    ("function", "value", "difference"),
    [
        ("versions", {"jax": "0.0.1"}, "another version: jax: "),
        ("settings", {"jax_enable_x64": "maybe"}, "another JAX setting: jax_enable_x64: "),
        ("device_kind", "abacus", "another kind of device: "),
    ],
)
def test_another_version_setting_or_device_is_refused(
    begun, monkeypatch, function, value, difference
):
    before = files(begun)
    now = getattr(fingerprint, function)()
    changed = now | value if isinstance(now, dict) else value
    monkeypatch.setattr(fingerprint, function, lambda: changed)
    with pytest.raises(StoreRefused) as refused:
        run_study(STUDY, begun)
    assert difference in str(refused.value)
    assert files(begun) == before


def test_settings_come_before_what_follows_from_them(begun, monkeypatch):
    now = fingerprint.settings()
    there = now | {"jax_enable_x64": not now["jax_enable_x64"]}
    monkeypatch.setattr(fingerprint, "settings", lambda: there)
    double = np.array(1.0, np.float64)
    with pytest.raises(StoreRefused, match="another JAX setting: jax_enable_x64: ") as refused:
        run_study(swelling(seeds=6, hyper={"threshold": double}, steps=30), begun)
    assert "threshold" not in str(refused.value)


@pytest.mark.parametrize(
    ("attributes", "number"), [({"configuration": "{}"}, 1), ({"format": 99}, 99)]
)
def test_another_format_is_not_damage(begun, attributes, number):
    root = begun / "data.zarr" / "zarr.json"
    content = json.loads(root.read_text())
    root.write_text(json.dumps(content | {"attributes": attributes}))
    before = files(begun)
    with pytest.raises(StoreRefused, match=f"has another format: {number} there, 2 here"):
        run_study(STUDY, begun)
    assert files(begun) == before
    assert open_study(begun)["number"].shape == (6, 3)


def test_an_edited_step_is_refused(begun, monkeypatch):
    def step(self, state, batch, hyper, key):
        return jnp.where(state > hyper["threshold"], state * 1e20, state)

    monkeypatch.setattr(Swelling, "step", step)
    with pytest.raises(StoreRefused, match=r"begun with other code: .*Swelling.step: changed"):
        run_study(STUDY, begun)


def test_an_edited_nsh_is_refused(begun, monkeypatch):
    monkeypatch.setattr(code, "source", lambda: "0" * 64)
    with pytest.raises(StoreRefused, match="another version: nsh's source: "):
        run_study(STUDY, begun)


def test_what_cannot_be_seen_is_told(begun, monkeypatch):
    def step(self, state, batch, hyper, key):
        return state + len(LOCKS)

    LOCKS = [threading.Lock()]
    monkeypatch.setattr(Swelling, "step", step)
    told = []
    with pytest.raises(StoreRefused):
        run_study(STUDY, begun, report=told.append)
    (line,) = told
    assert line.startswith("cannot be checked for changes: ")
    assert line.endswith(".step (_thread.lock)")


@pytest.mark.parametrize("content", ["", "{", "{}", '{"attributes": {}}', "[]"])
def test_what_is_no_store_of_a_study_is_refused(tmp_path, content):
    root = tmp_path / "data.zarr" / "zarr.json"
    root.parent.mkdir()
    root.write_text(content)
    with pytest.raises(StoreRefused, match="is not the store of a study"):
        run_study(STUDY, tmp_path)
    assert root.read_text() == content
    assert [path.name for path in tmp_path.rglob("*")] == ["data.zarr", "zarr.json"]


def test_store_says_where_it_comes_from(begun):
    attributes = json.loads((begun / "data.zarr" / "zarr.json").read_text())["attributes"]
    assert json.loads(attributes["configuration"])["seeds"] == 6
    packages = {"neurashed", "jax", "jaxlib", "numpy", "python"}
    assert set(json.loads(attributes["versions"])) >= packages
    assert isinstance(json.loads(attributes["settings"])["jax_enable_x64"], bool)
    assert "cpu" in attributes["device"]


def test_leftovers_of_a_killed_run_are_cleared(begun):
    before = files(begun)
    (begun / "data.zarr" / "number" / "c" / "0" / "0.0123.partial").write_text("half")
    (begun / ".data.zarr.new").mkdir()
    (begun / ".data.zarr.new" / "zarr.json").write_text("half")
    run_study(STUDY, begun, report=lambda _: None)
    assert files(begun) == before
    assert {path.name for path in begun.iterdir()} == {"data.zarr"}
