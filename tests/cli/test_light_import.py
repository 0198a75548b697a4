"""``import nsh`` imports nothing that does not come with its dependencies."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import equinox, jax, jaxtyping, numpy, optax
before = set(sys.modules)
import nsh
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names)))
"""


@pytest.mark.core
def test_import_of_nsh_brings_nothing_else():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["nsh"]
