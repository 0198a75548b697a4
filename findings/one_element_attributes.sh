#!/usr/bin/env bash
# xarray 2026.9.0 with h5netcdf 1.8.2: a list of one element in attributes comes back as no list.
#
# Attributes widths = [64] and activations = ["tanh"], a network of one hidden layer. Seen: through
# Zarr both come back as they were; through netCDF they are np.int64(64) and the text "tanh". Lists of
# two stay sequences.
#
# Expected: that xarray reads what it wrote, by every engine. Code that
# loops over layers works for two and more, fails for one with widths, and with activations loops over
# the letters t, a, n, h, silently.
# nsh: studies are written to Zarr, and what describes a network is a text of JSON there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    xarray==2026.9.0 h5netcdf==1.8.2 h5py==3.16.0 zarr==3.1.6 numpy==2.4.6 pandas==3.1.1
cd "$folder"
venv/bin/python - <<'END'
import warnings

import numpy as np
import xarray as xr

warnings.simplefilter("ignore")
for layers in (1, 2):
    attributes = {"widths": [64] * layers, "activations": ["tanh"] * layers}
    data = xr.Dataset({"loss": ("step", [1.0, 0.5])}, attrs=attributes)
    data.to_zarr(f"{layers}.zarr")
    data.to_netcdf(f"{layers}.nc", engine="h5netcdf")
    by_zarr = xr.open_zarr(f"{layers}.zarr").attrs
    by_netcdf = xr.open_dataset(f"{layers}.nc", engine="h5netcdf").attrs
    print(f"{layers} layers: Zarr {dict(by_zarr)}, netCDF {dict(by_netcdf)}")
    assert dict(by_zarr) == attributes
    sequence = isinstance(by_netcdf["activations"], list) and np.ndim(by_netcdf["widths"]) == 1
    assert sequence == (layers == 2), "lists of one element come back otherwise now"
END
