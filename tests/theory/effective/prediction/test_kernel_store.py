"""Blocks of any kernel over devices, and in a store that may be interrupted."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective.prediction import kernel_store
from nsh.theory.effective.prediction.kernel_store import iterate_blocks, kernel_to_zarr

RANDOM = np.random.default_rng(0)
X, Z = (RANDOM.normal(size=(count, 3)).astype(np.float32) for count in (11, 5))
BLOCKS = 3 * 4 // 2 + 4  # of 11 inputs, 3 on a side, on and above the diagonal


def rbf(x, z):
    return jnp.exp(-jnp.sum((x[:, None] - z[None]) ** 2, axis=-1))


def wide(x, z):
    return jnp.exp(-jnp.sum((x[:, None] - z[None]) ** 2, axis=-1) / 2)


def exact(x, z):
    x, z = (np.asarray(one, np.float64) for one in (x, z))
    return np.exp(-np.sum((x[:, None] - z[None]) ** 2, axis=-1))


def files(path):
    return {str(one): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


@pytest.fixture
def writes(monkeypatch):
    """Blocks that are written; the process is as if killed before the one of that number."""
    done, limit = [], []
    write = kernel_store._Store.write

    def counted(self, place, made):
        if limit and len(done) == limit[0]:
            raise KeyboardInterrupt
        done.append(place)
        write(self, place, made)

    monkeypatch.setattr(kernel_store._Store, "write", counted)
    return done, limit


def test_interrupted_and_damaged_it_ends_with_the_same_bits(tmp_path, writes):
    done, limit = writes
    whole = kernel_to_zarr(tmp_path / "whole", rbf, X, block=3)
    assert len(done) == BLOCKS
    matrix = np.asarray(whole[:])
    np.testing.assert_allclose(matrix, exact(X, X), atol=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)
    done.clear()
    limit.append(6)
    with pytest.raises(KeyboardInterrupt):
        kernel_to_zarr(tmp_path / "parts", rbf, X, block=3)
    chunks = tmp_path / "parts" / "kernel" / "c"
    (chunks / "0" / "1").write_bytes(b"cut")  # of a block that has its checksum
    (chunks / "2" / "0").unlink()  # the mirror image of another
    limit.clear()
    done.clear()
    parts = kernel_to_zarr(tmp_path / "parts", rbf, X, block=3)
    assert len(done) == BLOCKS - 6 + 2
    assert np.asarray(parts[:]).tobytes() == matrix.tobytes()
    done.clear()
    kernel_to_zarr(tmp_path / "parts", rbf, X, block=3)
    assert done == []


def test_of_two_sets_of_inputs_and_of_images(tmp_path):
    found = kernel_to_zarr(tmp_path / "two", rbf, X, Z, block=4)
    np.testing.assert_allclose(found[:], exact(X, Z), atol=1e-6)
    images = X.reshape(11, 3, 1)
    blocks = {
        (rows.start, columns.start): block
        for (rows, columns), block in iterate_blocks(
            lambda x, z: rbf(x[..., 0], z[..., 0]), images, block=8
        )
    }
    assert [block.shape for block in blocks.values()] == [(8, 8), (8, 3), (3, 3)]
    np.testing.assert_allclose(blocks[0, 8], exact(X[:8], X[8:]), atol=1e-6)


@pytest.mark.parametrize("case", ["kernel", "inputs", "block", "no store"])
def test_what_is_another_s_is_refused_and_left_as_it_is(tmp_path, case):
    path = tmp_path / "store"
    if case == "no store":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    else:
        kernel_to_zarr(path, rbf, X, block=6)
    before = files(path)
    arguments = {"kernel": (wide, X, 6), "inputs": (rbf, X + 1, 6), "block": (rbf, X, 5)}
    kernel, x, block = arguments.get(case, (rbf, X, 6))
    with pytest.raises(ValueError, match=r"store.*must be a new directory"):
        kernel_to_zarr(path, kernel, x, block=block)
    assert files(path) == before


def test_bad_input_is_named():
    cases: Any = (
        ("x.shape", (rbf, X[0]), {}),
        ("z.shape", (rbf, X, Z[:, :2]), {}),
        ("block", (rbf, X), {"block": 0}),
        ("devices", (rbf, X), {"devices": []}),
        (r"kernel\(x, z\).shape", (lambda x, z: x, X), {}),
    )
    for field, arguments, options in cases:
        with pytest.raises(ValueError, match=field.replace(".", r"\.")):
            iterate_blocks(*arguments, **options)


@pytest.mark.long
def test_is_the_same_to_the_bit_on_any_number_of_devices():
    program = (
        "import jax; jax.config.update('jax_num_cpu_devices', 8);"
        "import sys; sys.path.append(sys.argv[1]);"
        "import numpy as np; from nsh.theory.effective import Architecture, kernels;"
        "from nsh.theory.effective import iterate_blocks;"
        "net = Architecture('relu', 3, C_W=2.0); k = lambda x, z: kernels(net, x, z).ntk;"
        "x = np.random.default_rng(0).normal(size=(90, 20)).astype(np.float32);"
        "made = lambda n: b''.join(part.tobytes() for _, part in"
        " iterate_blocks(k, x, block=16, devices=jax.devices()[:n]));"
        "one = made(1); assert len(one) > 4 * 90 * 45; print(one == made(2) == made(8))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr
