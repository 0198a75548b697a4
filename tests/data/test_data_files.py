"""Files of all formats, written here byte by byte: what is read, and what is refused by name."""

import gzip
import pickle
import re
import struct
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nsh.data import Joined, joined, read_cifar, read_idx, read_npy, read_npz, read_zarr
from nsh.data.source import source_of

pytestmark = pytest.mark.core

# codes of the format and Python's names of the types, big-endian
CODES = {"u1": (8, "B"), "i1": (9, "b"), "i2": (11, "h"), "i4": (12, "i"), "f4": (13, "f"),
         "f8": (14, "d")}  # fmt: skip
RNG = np.random.default_rng(0)


def idx_bytes(array, kind):
    """The format as its description has it, number by number."""
    code, letter = CODES[kind]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + b"".join(struct.pack(f">{letter}", n) for n in array.ravel().tolist())


SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda kind: st.tuples(st.just(kind), arrays.arrays(kind, SHAPES))
)


@settings(max_examples=60, deadline=None)
@given(ARRAYS, st.booleans())
def test_idx_files_of_any_type_and_rank_are_read(tmp_path_factory, case, compressed):
    kind, array = case
    path = tmp_path_factory.getbasetemp() / "any.idx"
    content = idx_bytes(array, kind)
    path.write_bytes(gzip.compress(content) if compressed else content)
    found = read_idx(path)
    assert found.dtype.name == array.dtype.name
    assert isinstance(found, np.memmap) != compressed
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape


def test_rows_of_a_mapped_file_are_read_as_indexing_gives_them(tmp_path):
    """By `pread`, of contiguous rows and of views with any strides."""
    array = RNG.integers(-99, 99, (50, 3, 4)).astype("i4")
    (tmp_path / "a.idx").write_bytes(idx_bytes(array, "i4"))
    mapped, chosen = read_idx(tmp_path / "a.idx"), np.array([0, 1, 2, 9, 30, 31, 49])
    views = [
        (mapped, array), (mapped[5:], array[5:]), (mapped[::-1], array[::-1]),
        (mapped[::2, 1:, ::-1], array[::2, 1:, ::-1]),
        (mapped.swapaxes(1, 2), array.swapaxes(1, 2)),
        (mapped[:, 0, 0], array[:, 0, 0]), (joined([mapped[:7], mapped[7:]]), array),
    ]  # fmt: skip
    for view, expected in views:
        some = chosen[chosen < len(expected)]
        found = source_of(view)
        np.testing.assert_array_equal(found.read(some), expected[some])
        assert found.dtype.isnative
        assert source_of(view) == found
        assert hash(source_of(view)) == hash(found)
    sources = [source_of(view) for view, _ in views]
    assert all(one != other for i, one in enumerate(sources) for other in sources[:i])


def test_a_digest_is_that_of_the_bytes_in_memory(tmp_path):
    array = RNG.normal(size=(9, 2)).astype("f4")
    (tmp_path / "a.idx").write_bytes(idx_bytes(array, "f4"))
    assert source_of(read_idx(tmp_path / "a.idx")).digest() == source_of(array).digest()
    assert source_of(array).digest() != source_of(array + 1).digest()


def test_private_changes_to_a_mapping_are_seen(tmp_path):
    """A map of mode "c" keeps its changes in memory: its file has others."""
    np.zeros(6, np.uint8).tofile(tmp_path / "raw")
    mapped = np.memmap(tmp_path / "raw", np.uint8, "c")
    mapped[2] = 7
    assert source_of(mapped).read(np.arange(6)).tolist() == [0, 0, 7, 0, 0, 0]


def test_joined_arrays_index_as_one():
    parts = [RNG.normal(size=(n, 2, 3)) for n in (4, 1, 3)]
    both, whole = joined(parts), np.concatenate(parts)
    assert isinstance(both, Joined)
    assert (both.shape, both.ndim, both.dtype, len(both)) == ((8, 2, 3), 3, whole.dtype, 8)
    np.testing.assert_array_equal(np.asarray(both), whole)
    for index in (3, -1, slice(2, 7, 2), [7, 0, 0], np.array([[1, 5]]), whole[:, 0, 0] > 0,
                  (slice(3, 6), 1), (-2, slice(None), 0), ([6, 1], 0, 2)):  # fmt: skip
        np.testing.assert_array_equal(both[index], whole[index])
    with pytest.raises(IndexError):
        both[8]


def cifar(n, classes):
    labels = [
        RNG.integers(0, most, n, np.uint8) for most in ((20, 100) if classes == 100 else (10,))
    ]
    pixels = RNG.integers(0, 256, (n, 3, 32, 32), np.uint8)
    content = b"".join(
        bytes([*(label[i] for label in labels)]) + pixels[i].tobytes() for i in range(n)
    )
    return content, pixels, labels


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_files_are_read(tmp_path, classes):
    written = [cifar(n, classes) for n in (3, 2)]
    paths = [tmp_path / f"data_batch_{i}.bin" for i in range(2)]
    for path, (content, _, _) in zip(paths, written, strict=True):
        path.write_bytes(content)
    one = read_cifar(paths[0], classes)
    assert isinstance(one.x, np.memmap)
    np.testing.assert_array_equal(one.x, written[0][1])
    both = read_cifar(paths, classes, channels_at="last")
    pixels = np.concatenate([part[1] for part in written])
    assert both.x.shape == (5, 32, 32, 3)
    np.testing.assert_array_equal(np.asarray(both.x), pixels.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(source_of(both.x).read(np.array([1, 4])), both.x[[1, 4]])
    labels = [np.concatenate(parts) for parts in zip(*(part[2] for part in written), strict=True)]
    np.testing.assert_array_equal(both.y, labels[-1])
    if classes == 100:
        np.testing.assert_array_equal(both.coarse, labels[0])
    else:
        assert both.coarse is None


def test_numpys_and_zarrs_files_are_read(tmp_path):
    import zarr

    x, y = RNG.normal(size=(6, 2)), np.arange(6)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "set.npz", x=x, y=y)
    zarr.create_array(str(tmp_path / "set.zarr"), data=x, chunks=(4, 2))
    mapped = read_npy(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    found = read_npz(tmp_path / "set.npz")
    for array, expected in [(mapped, x), *zip(found, (x, y), strict=True)]:
        np.testing.assert_array_equal(array, expected)
    chosen = np.array([0, 3, 4, 5])
    for array in (mapped, read_zarr(tmp_path / "set.zarr")):
        np.testing.assert_array_equal(source_of(array).read(chosen), x[chosen])


class Dangerous:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


X3 = np.zeros((2, 3), np.uint8)
IDX = idx_bytes(X3, "u1")
CIFAR10, CIFAR100 = (cifar(2, classes)[0] for classes in (10, 100))
PICKLE = pickle.dumps({"data": Dangerous()}, protocol=2)
BAD = {
    "empty": (read_idx, b"", "first four bytes = '': must be two zero bytes"),
    "text": (read_idx, b"hello", "first four bytes = '68 65 6c 6c'"),
    "type": (read_idx, b"\0\0\x0a\1\0\0\0\0", "first four bytes = '00 00 0a 01'.*0x08, 0x09"),
    "rank": (read_idx, b"\0\0\x08\xff" + bytes(2000), "first four bytes = '00 00 08 ff'"),
    "sizes": (read_idx, IDX[:9], "bytes of sizes = 5: must be 8, truncated"),
    "short": (read_idx, IDX[:-1], r"17 bytes: must be 18, .*uint8\[2, 3\]; the file is truncated"),
    "long": (read_idx, IDX + b"x", r"bytes = 19: must be 18, .*trailing bytes"),
    "gzip short": (read_idx, gzip.compress(IDX[:-1]), "17 bytes: must be 18"),
    "gzip long": (read_idx, gzip.compress(IDX + b"xyz"), "trailing bytes"),
    "gzip cut": (read_idx, gzip.compress(IDX)[:-9], "must be a whole gzip file, but"),
    "gzip rot": (read_idx, gzip.compress(IDX)[:12] + b"??", "must be a whole gzip file, but"),
    "cifar short": (read_cifar, CIFAR10[:-1], "bytes = 6145: must be a multiple of 3073"),
    "cifar empty": (read_cifar, b"", "bytes = 0: must be a multiple"),
    "cifar 100": (read_cifar, CIFAR100, "bytes = 6148: .*of CIFAR-100 say classes=100"),
    "cifar label": (read_cifar, CIFAR10[:3073] + b"\x0a" + CIFAR10[3074:],
                    r"label of image 1 = 10: must be in 0\.\.9"),
    "cifar pickle": (read_cifar, PICKLE, "a pickle.*binary version"),
    "cifar gz": (read_cifar, gzip.compress(CIFAR10), "a gzip file.*unpack"),
    "npy text": (read_npy, b"hello there", "must be without Python objects|must be a whole .npy"),
    "npy pickle": (read_npy, PICKLE, "must be without Python objects"),
    "npz pickle": (read_npz, PICKLE, "must be without Python objects"),
    "npz text": (read_npz, b"PK\3\4 and no more", "must be a whole .npz file, but"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_broken_files_are_named(tmp_path, case):
    read, content, message = BAD[case]
    path = tmp_path / "broken.file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*{message}"):
        read(path)


@pytest.mark.usefixtures("as_users_have_it")
def test_arrays_that_do_not_fit_are_named(tmp_path):
    path, objects = tmp_path / "a.npz", np.array([Dangerous()])
    np.savez(path, x=np.zeros(3), y=np.zeros(4), object=objects)
    np.save(tmp_path / "o.npy", objects)
    np.save(tmp_path / "x.npy", np.zeros(3))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "long.npy").write_bytes(whole + b"x")
    (tmp_path / "short.npy").write_bytes(whole[:-1])
    for call, message in [
        (lambda: read_npz(path), r"rows of 'y' = \(4,\): must be as many rows as 'x': \(3,\)"),
        (lambda: read_npz(path, "objects"), "array 'objects': .*did you mean object?"),
        (lambda: read_npz(path, "object"), "without Python objects"),
        (lambda: read_npy(tmp_path / "o.npy"), "without Python objects"),
        (lambda: read_npy(path), "not an .npz file, which is for read_npz"),
        (lambda: read_npz(tmp_path / "x.npy"), "not an .npy file, which is for read_npy"),
        (lambda: read_npy(tmp_path / "long.npy"), "trailing bytes"),
        (lambda: read_npy(tmp_path / "short.npy"), "must be a whole .npy file"),
        (lambda: read_zarr(tmp_path), "must hold a Zarr array"),
        (lambda: read_cifar([]), r"paths = \[\]"),
        (lambda: read_cifar(path, classes=cast(Any, 20)), "classes = 20: must be 10 or 100"),
        (lambda: read_cifar(path, channels_at=cast(Any, "behind")), "channels_at = 'behind'"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    for read in (read_idx, read_cifar, read_npy, read_npz, read_zarr):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read(tmp_path / "nowhere")
