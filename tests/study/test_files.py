"""Study files: what they may say, and errors that name file, line, field, value and remedy."""

import dataclasses
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_studies import BAD, MLP
from studies import FILE, swelling, write

from nsh import Geometric, Neurashed, PerLevel, Saturating, measure, neurashed
from nsh.neurashed import Constant, Rule
from nsh.study import MEASUREMENTS, StudyFileError, read_study
from nsh.study.tables import Field, choose, line_numbers, subclasses_of
from nsh.theory import two_layer
from nsh.training import Epochs, FullBatch, Method, Sampler

EXAMPLES = sorted((Path(__file__).parents[2] / "experiments" / "studies").glob("*.toml"))


@pytest.mark.parametrize(
    ("text", "old", "new", "said"), BAD, ids=[f"{b[2] or 'no ' + b[1]}".strip() for b in BAD]
)
def test_bad_file_is_explained(tmp_path, text, old, new, said):
    assert old in text
    path = write(tmp_path, text.replace(old, new))
    with pytest.raises(StudyFileError) as problem:
        read_study(path)
    message = str(problem.value)
    assert message.startswith(f"{path}")
    for words in said:
        assert words in message, message
    assert "\n" not in message


def test_good_files_of_the_bad_ones_are_good(tmp_path):
    assert read_study(write(tmp_path)).seeds == 5
    study = read_study(write(tmp_path, MLP))
    assert isinstance(study.problem.sampler, Epochs)
    assert study.tune is not None
    assert study.tune.parameters == ("optimiser.learning_rate",)
    assert set(study.recorded()) == {"cross_entropy", "test_accuracy"}


def test_missing_file_and_bad_bytes(tmp_path):
    with pytest.raises(StudyFileError, match=r"nothing\.toml: cannot be read"):
        read_study(tmp_path / "nothing.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(StudyFileError, match=r"bytes\.toml: cannot be read"):
        read_study(tmp_path / "bytes.toml")


@pytest.mark.long
def test_rules_graphs_and_batches(tmp_path):
    text = """
seeds = 2
steps = 4
method = "sequential"
[system]
name = "neurashed"
edge_firing = "sample"
amplification_init = { name = "constant", value = 2.0 }
[system.graph]
name = "random_hierarchy"
shared = [3, 2]
specific = [2, 2]
samples = 6
[hyper.growth]
name = "geometric"
factor = [1.1, 1.2, 1.3]
per_level = true
[hyper.decay]
name = "geometric"
factor = 0.9
[hyper.weight_growth]
name = "saturating"
factor = 1.1
ceiling = 3
[batches]
name = "full_batch"
[record]
every = 2
what = ["accuracy", "test_accuracy"]
"""
    study = read_study(write(tmp_path, text))
    assert isinstance(study.problem.sampler, FullBatch)
    assert isinstance(study.problem.system, Neurashed)
    assert isinstance(study.problem.hyper.growth, PerLevel)
    assert isinstance(study.problem.hyper.growth.rule, Geometric)
    np.testing.assert_allclose(study.problem.hyper.growth.rule.factor, [1.1, 1.2, 1.3], rtol=1e-6)
    assert isinstance(study.problem.hyper.decay, Geometric)
    assert isinstance(study.problem.hyper.weight_growth, Saturating)
    assert isinstance(study.problem.system.amplification_init, Constant)
    assert study.problem.examples.words.shape[0] == 6


def test_paper_rates_are_the_default(tmp_path):
    start, _, rest = FILE.partition("[hyper]")
    text = start + "[record]" + rest.partition("[record]")[2]
    study = read_study(write(tmp_path, text))
    assert study.problem.hyper.growth.factor.shape == (19,)


USER = """
import jax.numpy as jnp
from nsh.measure import Variable, recorded
from studies import Swelling

@recorded("doubled", doubled=Variable("doubled state", "1"))
def doubled(state, factor: float = 2.0):
    return factor * state

def system(size):
    return Swelling(), [1.0] * size, [0] * size, None, {"threshold": 1.0}

def bare():
    return 1, 2

def number(now, factor=1.0):
    return factor * now.state

def several(now):
    return {"one": now.state, "two": jnp.stack([now.state, now.state])}
"""


def test_functions_of_the_user(tmp_path):
    (tmp_path / "mine_of_studies.py").write_text(USER)
    text = """
seeds = 2
steps = 4
[system]
name = "mine_of_studies:system"
size = 3
[record]
every = 2
what = ["mine_of_studies:several", "mine_of_studies:doubled",
    { name = "mine_of_studies:number", factor = 2.0 }]
[grid]
threshold = [1, 2]
"""
    study = read_study(write(tmp_path, text))
    assert study.problem.examples.shape == (3,)
    shapes = {name: leaf.shape for name, leaf in study.recorded().items()}
    assert shapes == {"one": (), "two": (2,), "doubled": (), "number": ()}
    assert study.grid == {"threshold": (1.0, 2.0)}
    for right, wrong, said in (
        (
            "size = 3",
            "size = 3\nother = 1",
            r"line 4: system: system\(\): got an unexpected keyword",
        ),
        ("size = 3", "", r"line 4: system: system\(\): missing a required argument: 'size'"),
        ("factor = 2.0", "fctor = 2.0", r"line 9: record.what.2: number\(\): .* argument"),
    ):
        with pytest.raises(StudyFileError, match=said):
            read_study(write(tmp_path, text.replace(right, wrong)))
    bad = text.replace(":system", ":bare").replace("size = 3\n", "")
    with pytest.raises(StudyFileError, match=r"line 4: system.*a tuple: system, x, y"):
        read_study(write(tmp_path, bad))


SHOWN = {"u": [[1.0]], "theta": [[1.0]], "sampler": "with_replacement"}
NOT_BY_NAME = {
    "active_units": "which units, not a number",
    "effective_number": "of log strengths, not of a system",
    "elasticity_contrast": "`elasticity` in a study file, with `elasticity_matrix`",
    "elasticity_matrix": "a number for each pair of examples",
    "estimate": "over seeds, not of one",
    "information_bounds": "bounds of `information`, of squared distances",
    "level_information": "`information` in a study file, of all levels",
    "neural_collapse": "`collapse` in a study file, of the top level",
    "noise_level": "of what `information` adds, no measurement",
    "observe": "what is measured, no measurement",
    "over_blocks": "how measures are taken of large sets, no measurement",
    "pathway_overlap": "of active sets, which need a threshold",
    "readout": "weights, no number",
    "recorded": "the decorator that gives names to measures",
}


def below(base):
    """All classes that derive from it and can be made, under their own names in their modules."""
    for kind in base.__subclasses__():
        here = getattr(sys.modules[kind.__module__], kind.__name__, None) is kind
        if here and not inspect.isabstract(kind):
            yield kind
        yield from below(kind)


@pytest.mark.parametrize(
    "base", [Rule, neurashed.Initializer, two_layer.ParticleInitializer, Sampler, Method]
)
def test_every_public_kind_has_a_name(base):
    choice = subclasses_of(base)
    named = {*choice.make.values(), *choice.around.values()}
    assert {kind for kind in below(base) if kind.__module__.startswith("nsh.")} == named
    for name, kind in choice.make.items():
        needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
        options = {p.name: SHOWN.get(p.name, 256) for p in needed}
        made = choose(choice, {"name": name, **options}, Field("file", {}))
        assert type(made) is kind


def test_every_public_measure_has_a_name_or_a_reason():
    public = {n for n in measure.__all__ if inspect.isfunction(getattr(measure, n))}
    named = {n for n in public if "recorded" in vars(getattr(measure, n))}
    assert public - named == set(NOT_BY_NAME) | {"information", "elasticity"}
    assert {"information", "elasticity", "calibration_error", "collapse"} < set(MEASUREMENTS)


def test_lines_of_keys():
    text = 'a = 1\n[b.c] # d = 1\n"e.f" = [\n  1,\n]\n  g . h = 2\n[i]\n'
    assert line_numbers(text) == {"a": 1, "b.c": 2, "b.c.e.f": 3, "b.c.g.h": 6, "i": 7}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_good(path):
    study = read_study(path)
    assert len(study.blocks) > 1
    assert study.recorded()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seeds": 0}, "seeds = 0"),
        ({"steps": -1}, "steps = -1"),
        ({"chunk": 0}, "chunk = 0"),
        ({"key": -1}, "key = -1"),
        ({"grid": {"a": [1.0]}}, "grid = 'a'"),
        ({"grid": {"threshold": [1.0, 1.0]}}, "grid.threshold"),
    ],
)
def test_bad_study_from_python(changes, field):
    with pytest.raises(ValueError, match=f"^{re.escape(field)}"):
        swelling(**changes)


def test_what_is_recorded_must_have_names_and_numbers():
    study = swelling()
    for what, field in [
        (lambda now: now.state, "save.fn = "),
        (lambda now: {"seed": now.state}, "names of grid axes and recorded arrays = ['seed']"),
        (lambda now: {"key": {"inner": now.state}}, "save.fn(...)['key'] = "),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(field)}"):
            swelling(save=dataclasses.replace(study.problem.save, fn=what))
