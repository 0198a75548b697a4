"""A notebook run as `make notebooks` runs it, whatever the tests' or the user's own settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
TIMEOUT = 300
"""Seconds that a cell may take, on a machine that does much else."""


def executed(path: Path, scratch: Path) -> Any:
    """The notebook at `path` with what it shows when run now, by this Python.

    `scratch`: an empty folder, for the result and for all that Jupyter and others want to write.
    """
    result = scratch / path.name
    command = [sys.executable, "-m", "jupyter", "execute", f"--timeout={TIMEOUT}"]
    command += [f"--output={result}", str(path)]
    ran = subprocess.run(
        command, env=_environment(scratch), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return nbformat.read(result, nbformat.NO_CONVERT)


def _environment(scratch: Path) -> dict[str, str]:
    """That of this process, but for the tests' settings; XLA's remain, which compile faster."""
    strict = ("JAX_", "PYTEST_", "PYTHONWARNINGS", "JUPYTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strict)}
    written = {
        name: str(scratch / name.lower())
        for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")
    }
    return kept | written | {
        "JAX_PLATFORMS": "cpu",
        "JUPYTER_NO_CONFIG": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
