#!/usr/bin/env bash
# Zarr 3.1.6: an attribute that is NaN makes zarr.json a file that is not JSON.
#
# attrs["final_loss"] = nan (a run that diverged) is written as the bare word NaN, inf as Infinity. The
# fill value nan of the same file is written as the text "NaN", as the format wants. Seen:
# "attributes": {"final_loss": NaN}, and a strict parser refuses the whole file.
#
# Expected: an error when writing, or a text as for fill values. Zarr-Python reads it back, so it is
# found when others (JavaScript, Rust, command line tools) open the store: not only the attribute but
# shape and type of the array are lost to them. Diverged runs are no exception in this field.
# nsh: what describes a study is JSON without NaN (`allow_nan=False`); losses are arrays.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    zarr==3.1.6 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import json
import math
from pathlib import Path

import numpy as np
import zarr

array = zarr.create_array("run.zarr", data=np.zeros(2), fill_value=math.nan)
array.attrs["final_loss"] = math.nan
text = Path("run.zarr/zarr.json").read_text()


def refuse(word):
    raise ValueError(f"{word} is not JSON")


print("\n".join(line for line in text.splitlines() if "NaN" in line))
assert json.loads(text)["fill_value"] == "NaN"
assert math.isnan(zarr.open_array("run.zarr").attrs["final_loss"])
try:
    json.loads(text, parse_constant=refuse)
except ValueError as error:
    print("strict parser:", error)
else:
    raise SystemExit("zarr.json is JSON now")
END
