"""Datasets from a table: dimensions, unit and long name of each variable on one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

ROW = re.compile(r"(?P<names>[\w ]+):(?P<dims>[\w ]*)\[(?P<units>.+?)\](?P<long_name>.*)")


def dataset(table: str, values: Mapping[str, Any], **coordinates: Any) -> xr.Dataset:
    """Make a dataset of `values` and `coordinates`, as the rows of `table` declare them.

    A row is ``names: dimensions [unit] long name``, the last if wanted; all of its names are alike.
    A coordinate without a row is that of the dimension of its name, without a unit.

        accuracy loss: batch seed [1]
        batch: batch [samples]

    Raises `ValueError` if a line is no row, and if a value has no row or a row no value.
    """
    lines = filter(None, map(str.strip, table.splitlines()))
    rows = {name: row for line in lines for name, row in _row(line).items()}
    for complaint, names in (
        ("no row for", values.keys() - rows.keys()),
        ("no value for", rows.keys() - values.keys() - coordinates.keys()),
    ):
        if names:
            raise ValueError(f"dataset: {complaint} {', '.join(sorted(names))}")

    def variable(name: str, value: Any) -> tuple[list[str], np.ndarray, dict[str, str]]:
        dims, attributes = rows.get(name, ([name], {}))
        return dims, np.asarray(value), attributes

    variables, coords = (
        {name: variable(name, value) for name, value in some.items()}
        for some in (values, coordinates)
    )
    return xr.Dataset(variables, coords)


def _row(line: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    match = ROW.fullmatch(line)
    if match is None:
        raise ValueError(f"dataset: {line!r} is no row: names: dimensions [unit] long name")
    attributes = {"units": match["units"], "long_name": match["long_name"].strip()}
    attributes = {name: text for name, text in attributes.items() if text}
    return {name: (match["dims"].split(), attributes) for name in match["names"].split()}
