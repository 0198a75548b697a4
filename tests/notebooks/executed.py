"""A notebook run as its reader would run it, whatever the tests' or the user's own settings."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""A cell may take so long, on a machine that does much else."""


def executed(notebook: Any, scratch: Path) -> Any:
    """A copy of the notebook with what it shows when this Python runs it in a kernel of its own.

    `scratch`: a folder for all that Jupyter, IPython and matplotlib want to write.
    """
    again = copy.deepcopy(notebook)
    # where there are no directories of kernels, "python3" is this interpreter
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        connection_file=str(scratch / "kernel.json"),
    )
    place = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = NotebookClient(
        again, km=manager, timeout=SECONDS, record_timing=False, resources=place
    )
    client.execute(env=_environment(scratch))
    return again


def _environment(scratch: Path) -> dict[str, str]:
    """That of this process, but for settings of the tests; XLA's remain, which compile faster."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "PYTEST_")) and name != "PYTHONWARNINGS"
    }
    folders = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR")
    return kept | {name: str(scratch / name.lower()) for name in folders} | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
