#!/usr/bin/env bash
# JAX 0.10.2, Equinox 0.13.8: arrays of 8 bits or less are saved without a word and cannot be read.
#
# `equinox.tree_serialise_leaves` writes by `jax.numpy.save`, reads by `jax.numpy.load`. float32 and
# bfloat16 come back. float8_e4m3fn and int4 are written, of the right size; `jax.numpy.load` gives
# NumPy arrays of type void for them, and `tree_deserialise_leaves` ends with a RuntimeError, given the
# very array that was saved as `like`.
#
# Expected: the array that was saved, as of bfloat16, or an error when it is saved and not when the
# run that it was to bring back is gone. Read in the source: NumPy's format has no name for these types
# and says "V1"; `jax.numpy.load` makes bfloat16 of "V2" and leaves the others. The bits are all there:
# `array.view(dtype)` of what is loaded is right.
# nsh: checkpoints hold such arrays as whole numbers of the same bits, and tests read them back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 equinox==0.13.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'PYTHON'
import io

import equinox as eqx
import jax.numpy as jnp
import numpy as np

for dtype, lost in [("float32", False), ("bfloat16", False), ("float8_e4m3fn", True), ("int4", True)]:
    array, file = jnp.asarray([1, 2, 3], dtype), io.BytesIO()
    eqx.tree_serialise_leaves(file, array)
    file.seek(0)
    raw = jnp.load(file)
    file.seek(0)
    try:
        said = str(eqx.tree_deserialise_leaves(file, array).tolist())
    except RuntimeError as error:
        said = f"{type(error).__name__}: {error}"
    print(f"{dtype}: jnp.load gives {type(raw).__name__} of {raw.dtype}; Equinox: {said[:90]}")
    assert said.startswith("RuntimeError") == lost, f"{dtype} has changed"
    bits = np.asarray(raw).view(array.dtype)
    assert bits.astype(float).tolist() == [1.0, 2.0, 3.0], f"the bits of {dtype} have changed"
PYTHON
