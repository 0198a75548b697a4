"""The code on the documentation's pages runs as it stands, and shows what the text says."""

import dataclasses
import io
import re
import types
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from matplotlib.image import imread
from snippets import blocks, names_of

from nsh import SaveAt
from nsh.theory.effective.layers import Layer

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "pictures"
WITH_CODE = sorted(page for page in DOCS.rglob("*.md") if blocks(page))


def tour(names):
    assert names["run"].saved.shape == (10_000, 51, 7)
    assert (np.asarray(names["run"].status) == 0).all()
    means = names["run"].saved[:, -1].mean(axis=0)
    assert means[0] > means[5] > means[1]
    # at every step node 0, one of the four samples' nodes and one of the classes' fire, whichever
    # they are: 3 of 7 log factors grow by log(growth)
    np.testing.assert_allclose(names["slope"], 500 * 3 / 7 / 1.06, rtol=1e-4)
    assert names["found"].mode == "closed form"
    # the log rate times how often it fires: in a quarter of 500 steps
    count, error = names["mean"].growth.factor, names["error"].growth.factor
    assert 0.1 < error < 1
    assert abs(count - 125) < 4 * error
    assert names["count"][0] > 4
    assert 1 <= names["count"][-1] < 1.5


def neurashed(names):
    curve = names["curve"]
    assert curve[0] < 0.8
    assert curve.max() > 1.5
    assert curve[-1] < 1.25
    assert (np.asarray(names["run"].status) == 0).all()


def exact_laws(names):
    shares = names["phases"].critical_fraction
    assert (np.diff(shares) < 0).all()
    second = names["exponents"].nodes[names["task"].graph.node_slice(2)]
    assert set(np.argsort(second)[-2:].tolist()) == {1, 4}
    assert names["moments"].covariance.shape[0] == names["moments"].mean.shape[0]


def effective(names):
    point = names["point"]
    assert point.universality == "half-stable"
    np.testing.assert_allclose([point.K, point.C_b, point.C_W], [3.5616, 0.17292, 1.98306], 1e-4)
    assert names["infinite"].error.max() < 1e-5
    assert names["result"].status == 0
    assert (np.asarray(names["result"].residual) <= 1e-4).all()
    assert names["slope"] > 0


def two_layer(names):
    assert names["learned"] < names["lazy"]
    assert names["slope"] > 0
    assert names["kernel"].shape == (16, 16)


def reality(names):
    assert names["of_data"].quality.recovered > 0.7
    (agreement,) = names["of_network"].agreement
    assert agreement > 0.3
    assert names["chance"].widths == names["of_network"].graph.widths
    assert names["run"].status == 0


def data(names):
    assert names["classes"].names == ("cat", "owl")
    assert names["images"].shape == (500, 9, 11)
    assert (names["classes"].decode(names["labels"]) == names["animals"]).all()
    one, other = names["runs"]
    assert all(map(np.array_equal, *map(names["jax"].tree.leaves, (one, other))))


def measures(names):
    assert names["found"]["accuracy"] > 0.8
    assert names["found"]["information"].consistent
    assert names["found"]["elasticity ratio"] > 1
    assert names["over_seeds"].mean > 0.8
    assert names["over_seeds"].count == 4


def methods(names):
    counted = names["counted"].state.log_amplification
    np.testing.assert_allclose(names["stepped"].state.log_amplification, counted, atol=1e-3)
    assert names["million"].state.log_amplification.shape == (1000, 19)
    assert names["run"].state.log_amplification.shape == (3, 2, 64, 19)
    np.testing.assert_array_equal(
        names["unrolled"].state.log_amplification, names["five"].state.log_amplification
    )
    assert names["on_halves"].state.log_amplification.shape == (2, 19)
    assert names["by_size"].state.log_amplification.shape == (3, 4, 19)
    saved, again = (names[name].saved.log_amplification for name in ("saved", "again"))
    np.testing.assert_array_equal(saved, again)
    recorded = dataclasses.replace(names["problem"], save=SaveAt(every=1))
    with pytest.raises(ValueError, match=r"Unrolled does not fit, it records nothing"):
        names["train"](recorded, names["key"], method=names["Unrolled"]())


def hyperparameters(names):
    assert names["found"].mode == "closed form"
    assert names["tuned"].values[-1] < names["tuned"].values[0]


def optimisers(names):
    tuned = names["tuned"]
    assert tuned.values[-1] < tuned.values[0]
    assert tuned.hyper["optimiser"]["eps_root"] == np.float32(1e-16)
    assert 0.001 < tuned.best["optimiser"]["learning_rate"] < 1


def networks(names):
    assert (np.asarray(names["run"].status) == 0).all()
    found = names["found"]
    assert (np.asarray(found.status) == 0).all()
    weights = np.asarray(found.gradient["data"]["weights"])
    assert weights.shape == (2, 64)
    assert np.isfinite(weights).all()
    assert np.any(weights != 0)
    assert names["network"].task.classes.names == ("cat", "dog")


def studies(names):
    sizes = dict(names["data"]["effective_features"].mean("seed").sizes)
    assert sizes["growth.factor"] == 3
    assert sizes["step"] == 3


def figures(names):
    assert len(names["written"]["run.gif"]) > 10_000


def extending(names):
    np.testing.assert_allclose(names["grown"], 1.25, rtol=1e-6)
    with pytest.raises(ValueError, match=r"growth = .* not the identity \(rate 0\)"):
        names["Rules"](names["Slowing"](0.0), names["Geometric"](0.9))
    assert names["started"].shape == (names["model"].graph.nodes,)
    assert names["eqx"].tree_equal(names["before"], names["after"])
    # the means of the mini-batches are 1/2, 1, 1/2
    np.testing.assert_allclose(names["ordered"].state, [0.5625, 0.5625], rtol=1e-6)
    np.testing.assert_allclose(names["margins"], [0, 0.375, 0.9375], rtol=1e-6)
    closed, expanded = names["closed"], names["expanded"]
    np.testing.assert_allclose([closed.s, closed.slope], [2.5, 2.0], rtol=1e-5)
    np.testing.assert_allclose([expanded.s, expanded.slope], [2.5, 2.0], rtol=1e-4)
    assert names["walks"].sizes == {"seed": 4, "step": 5}
    assert [claim.name for claim in names["judged"]] == ["spreads"]
    assert len(names["figure"](names["walks"]).axes) == 1
    assert names["code"] == 0


def from_neural_tangents(names):
    # test inputs are near training inputs, on which noise is small
    assert (np.asarray(names["result"].variance) < 0.1).all()
    assert names["trained"].status == 0
    page = (DOCS / "guide" / "from_neural_tangents.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| [^|]* \| ([^|]*) \|", page, re.MULTILINE)
    entries = [cell for cell in cells if cell not in ("nsh", "no")]
    assert len(entries) > 60
    assert all(entry[0] == entry[-1] == "`" for entry in entries)
    for entry in (entry.strip("`") for entry in entries):
        # traced as it is written; the numbers are held by the tests of each function
        try:
            found = eqx.filter_eval_shape(lambda entry=entry: eval(entry, names))
        except jax.errors.TracerArrayConversionError:  # of what works on the host
            found = eval(entry, names)
        if isinstance(found, Layer | str | types.FunctionType):
            network = names["Serial"](names["Dense"](4), found)
            assert jax.eval_shape(names["kernels"], network, names["x"]).nngp.shape[:2] == (6, 6)


def cite(names):
    assert "nsh" in names


CHECKS = [
    tour, neurashed, exact_laws, effective, two_layer, reality, data, measures, methods,
    hyperparameters, optimisers, networks, studies, figures, extending, from_neural_tangents, cite,
]  # fmt: skip


@pytest.mark.parametrize(
    "check",
    [tour, *(pytest.param(check, marks=pytest.mark.long) for check in CHECKS[1:])],
    ids=lambda check: check.__name__,
)
def test_page(check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for files that a page writes
    (page,) = [page for page in WITH_CODE if page.stem == check.__name__]
    names = names_of(page)
    check(names)
    for picture in PICTURES.glob("*.png"):
        if picture.name in names["written"]:
            shown, drawn = imread(picture), imread(io.BytesIO(names["written"][picture.name]))
            assert shown.shape == drawn.shape
            assert np.sqrt(np.mean((shown - drawn) ** 2)) < 0.03
            assert f"../pictures/{picture.name}" in page.read_text(encoding="utf-8")


def test_every_picture_is_drawn_by_a_page():
    code = "".join(block for page in WITH_CODE for block in blocks(page))
    for picture in PICTURES.glob("*.png"):
        assert f'savefig("{picture.name}"' in code


def test_no_page_is_left_out():
    checked = {check.__name__ for check in CHECKS} | {"own_system"}  # test_own_system.py
    assert {page.stem for page in WITH_CODE} == checked
