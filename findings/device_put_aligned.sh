#!/usr/bin/env bash
# JAX 0.10.2 and 0.7.2, CPU: refilling a NumPy buffer changes a JAX array made of it, if the buffer
# happens to begin at a multiple of 64 bytes.
#
# A buffer of 1,000 zeros is handed over, then filled with sevens, as loaders do that reuse theirs.
# Seen, for a buffer at a multiple of 64 bytes: jax.device_put is 7.0 afterwards in both releases,
# jnp.asarray is 7.0 in 0.7.2 and 0.0 in 0.10.2, jnp.array is 0.0. At 16 bytes more: all are 0.0.
#
# JAX arrays are immutable, and device_put says that it may share memory. What one would not expect is
# that it depends on where malloc put the buffer: the same program trains on the right mini-batches or
# on mixed ones from run to run, and a test with small arrays passes by chance. Labels that are
# corrupted in place after the set was prepared are corrupted in the prepared set, too.
# nsh: prepared data are copies (`jnp.array`), with a test on buffers at multiples of 64 bytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for release in 0.10.2 0.7.2; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet --disable-pip-version-check \
        "jax==$release" "jaxlib==$release" numpy==2.4.6
    JAX_PLATFORMS=cpu "$folder/$release/bin/python" - <<'END'
import jax
import jax.numpy as jnp
import numpy as np

asarray_shares = jax.__version__ == "0.7.2"
for beyond in (0, 16):
    room = np.zeros(4 * 1000 + 128, np.uint8)
    at = -room.ctypes.data % 64 + beyond
    buffer = room[at : at + 4 * 1000].view(np.float32)
    made = {"device_put": jax.device_put(buffer), "asarray": jnp.asarray(buffer)}
    made["array"] = jnp.array(buffer)
    jax.block_until_ready(made)
    buffer[:] = 7
    found = {name: float(array[0]) for name, array in made.items()}
    print(f"JAX {jax.__version__}, buffer at 64 k + {beyond} bytes: {found}")
    shared = beyond == 0
    assert found["device_put"] == (7 if shared else 0), "device_put behaves differently now"
    assert found["asarray"] == (7 if shared and asarray_shares else 0), "asarray has changed"
    assert found["array"] == 0, "array shares memory"
END
done
