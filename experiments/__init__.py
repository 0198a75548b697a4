"""The papers' claims and figures, one module or package each, all of one shape.

Every experiment defines

- ``Config``: a frozen dataclass of everything that can be chosen, with defaults for a laptop;
- ``FULL`` and ``TINY``: the `Config` at paper-quality sizes, and one for the tests, of seconds;
- ``run(config, progress) -> xarray.Dataset``: the measurement, which tells `progress`
  (`nsh.study.progress`) how far it is; `experiments.harness.dataset` makes datasets from tables;
- ``figure(dataset) -> matplotlib.figure.Figure``, with captions: `experiments.harness.figures`;
- ``claims(dataset)``: each `experiments.harness.claim.Claim`;
- ``explore(dataset) -> plotly.graph_objects.Figure``, if there is something to be moved about.

A package has ``config.py``, ``claims.py`` and ``figure.py``, and ``run`` in its ``__init__.py``.
``nsh reproduce`` runs them (`experiments.harness.command_line`).
"""

from __future__ import annotations

import ast
from pathlib import Path

# in which they are run and listed; others come after these
ORDER = (
    "information_bottleneck",
    "implicit_regularization",
    "local_elasticity",
    "criticality",
    "finite_width",
    "aspect_ratio",
    "kernel_regime",
    "lazy_to_mean_field",
    "noisy_descent",
    "repopulation",
    "feature_learning",
    "correspondence",
    "digit_rules",
    "elasticity_fit",
    "lottery_ticket",
    "effective_sample_size",
    "data_augmentation",
    "kernels_of_images",
    "extensions",
    "scaling_law",
)


def _found() -> set[str]:
    """The modules and packages here that have a ``run``, read from their source."""
    here = Path(__file__).parent
    sources = {path.stem: path for path in here.glob("*.py")}
    sources |= {path.parent.name: path for path in here.glob("*/__init__.py")}
    return {name for name, path in sources.items() if "run" in _functions(path)}


def _functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


_FOUND = _found()
EXPERIMENTS = tuple(
    f"experiments.{name}"
    for name in (*(name for name in ORDER if name in _FOUND), *sorted(_FOUND - set(ORDER)))
)
"""Names of all modules of that shape here, in their order; imported only when needed."""
