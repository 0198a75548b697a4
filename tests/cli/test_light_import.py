"""``import nsh`` imports nothing that does not come with its dependencies."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import equinox, jax, jaxtyping, numpy, optax
def packages():
    return {name.partition(".")[0] for name in sys.modules}
before = packages()
import nsh
print(*sorted(packages() - before - set(sys.stdlib_module_names)))
"""


@pytest.mark.long
@pytest.mark.core
def test_import_of_nsh_brings_nothing_else():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["nsh"]
