"""Bad input: every error names the place, the value found there and what is allowed instead."""

import re

import jax
import pytest
from bad_input import data, graphs, measures, rules, runs
from bad_input.good import Cases, X, Y, many, prepared, trained

pytestmark = pytest.mark.core

TABLES: dict[str, Cases] = {
    "graph": graphs.GRAPHS,
    "data": data.DATA,
    "rules": rules.RULES,
    "run": runs.RUNS,
    "measure": measures.MEASURES,
}
CASES = [
    pytest.param(*case, id=f"{part}: {name}")
    for part, cases in TABLES.items()
    for name, case in cases.items()
]


@pytest.mark.parametrize(("act", "place", "value", "allowed"), CASES)
@pytest.mark.usefixtures("as_users_have_it")
def test_error_names_place_value_and_allowed(act, place, value, allowed, caplog):
    with jax.log_compiles(), pytest.raises(ValueError, match=": must be ") as caught:
        act()
    found, must = str(caught.value).split(": must be ", 1)
    name, value_found = found.split(" = ", 1)
    assert place in name
    assert value in value_found
    assert allowed in must
    assert not compiled_programs(caplog)


@pytest.mark.long
def test_the_last_test_would_see_a_compilation(caplog):
    with jax.log_compiles():
        prepared(X[:5], Y[:5])
        trained(steps=2)
        many(steps=2)
    assert compiled_programs(caplog) == {"pathways_of", "_train", "_train_some"}


def compiled_programs(caplog):
    """Those of the library's, leaving out single operations on arrays."""
    return set(re.findall(r"Compiling (?:jit\()?(pathways_of|_train_some|_train)\b", caplog.text))
