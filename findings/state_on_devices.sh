#!/usr/bin/env bash
# Equinox 0.13.8 on JAX 0.10.2: BatchNorm(mode="batch") cannot be called inside shard_map.
#
# State.set compares the types of the old and the new value. Inside shard_map the mesh is part of a
# type. The counter starts as a constant, which has no mesh; counter + 1 has one. So it is refused:
# "The old value is weak_i32[] and the new value is weak_i32[]." Mode "ema" fails the other way
# round once its state has a mesh, as it sets a constant.
#
# So a network with BatchNorm that trains on one device fails on two. nsh: `ensemble` traces a
# member before it goes on the mesh.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 equinox==0.13.8
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'END'
import equinox as eqx
import jax
import jax.numpy as jnp

jax.config.update("jax_num_cpu_devices", 2)
layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, "batch", mode="batch")


def outputs(x):
    layers = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return layers(x, jax.tree.map(lambda leaf: leaf, state))[0]


x = jnp.array([[-1.0], [1.0], [-1.0], [1.0]])
print("one device:", jax.jit(outputs)(x).ravel())
split = jax.sharding.PartitionSpec("devices")
mesh = jax.sharding.Mesh(jax.devices(), ("devices",))
both = jax.shard_map(outputs, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
try:
    print("two devices:", jax.jit(both)(x).ravel())
except ValueError as complaint:
    print("two devices:", str(complaint).splitlines()[0])
    assert "The old value is weak_i32[] and the new value is weak_i32[]" in str(complaint)
else:
    raise SystemExit("it works")
END
