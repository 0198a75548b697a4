"""How a study went, in one line."""

from __future__ import annotations

import xarray as xr

from nsh.study.layout import TUNING_STATUS
from nsh.training import DIVERGED, GRADIENT_NOT_FINITE, HEALTHY


def in_words(dataset: xr.Dataset) -> str:
    """Runs, those that diverged and, of a study that tunes, gradients that were not finite."""
    status = dataset["status"]
    said = f"{status.size} runs, {int((status == DIVERGED).sum())} of them diverged"
    if TUNING_STATUS in dataset:
        found = dataset[TUNING_STATUS]
        lost = int((found == GRADIENT_NOT_FINITE).sum())
        said += f"; {lost} of {found.size} gradients were not finite" if lost else ""
    if not is_tuned(dataset):
        said = f"nothing was tuned: no run has a finite gradient; {said}"
    return said


def is_tuned(dataset: xr.Dataset) -> bool:
    """False for a study that tunes and had no finite gradient at all."""
    return TUNING_STATUS not in dataset or bool((dataset[TUNING_STATUS] == HEALTHY).any())
