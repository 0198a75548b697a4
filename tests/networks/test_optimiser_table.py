"""The guide's table of what hypergradients through Optax's optimisers are.

All of its lines are measured anew if Optax is another than the table's, or with
``WHOLE_TABLE=1 pytest -s`` on this file, which prints them; else those of one optimiser of a kind.
"""

import os
import re
from pathlib import Path

import optax
import pytest
from optimisers_of_optax import optimisers, row

GUIDE = Path(__file__).parents[2] / "docs/guide/optimisers.md"
TEXT = GUIDE.read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in TEXT.splitlines() if line.startswith("| `")}
OF_A_KIND = ("sgd", "adam", "radam", "adafactor", "lookahead")
VERSION = re.search(r"Optax (\d+\.\d+\.\d+)", TEXT)
ALL = "WHOLE_TABLE" in os.environ or VERSION is None or VERSION[1] != optax.__version__


def test_every_optimiser_has_a_line():
    assert list(ROWS) == list(optimisers())


@pytest.mark.long
@pytest.mark.parametrize("name", optimisers() if ALL else OF_A_KIND)
def test_lines_are_as_measured(name):
    found = row(name)
    print(found)
    assert ROWS.get(name) == found
