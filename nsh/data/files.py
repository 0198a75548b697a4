"""Arrays from files, mapped and not copied where they can be: IDX, CIFAR, NumPy's and Zarr's.

Nothing is unpickled: a pickle runs any code that its author wants. What a file should hold is
checked against its size, so that no file is read as something that it is not.
"""

from __future__ import annotations

import gzip
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from nsh._checks import nearest, require
from nsh._extras import extra
from nsh.data.images import ChannelsAt, check_channels_at
from nsh.data.source import Joined, joined

Path_ = str | os.PathLike[str]
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 64
PIXELS = 3, 32, 32
LABELS = {10: 1, 100: 2}
SUPERCLASSES = 20
NO_PICKLE = "without Python objects: these are pickles, which run code, and are not read"


def read_idx(path: Path_) -> np.ndarray:
    """The array in an IDX file, the format of MNIST and its family: images, labels, anything.

    Of any rank and of all types of the format, which are big-endian: `prepare` and `stream` take
    them, and `jnp.asarray` wants bytes in the order of the machine. Mapped, read-only: nothing is
    copied, and `nsh.training.stream` reads no more than it needs. A file compressed by gzip is
    recognised by its content, and is read whole.

    Format: two zero bytes, one for the type, one for the rank, the sizes as 32-bit integers, the
    numbers in row-major order. Raises `ValueError` for any other file, and for one that ends too
    early or goes on.

    Example:
        Two images of 1 x 3 pixels:

        >>> import pathlib, tempfile
        >>> from nsh.data import read_idx
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "images-idx3-ubyte"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, *range(6)]))
        >>> read_idx(path).tolist()
        [[[0, 1, 2]], [[3, 4, 5]]]
    """
    with Path(path).open("rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        if not compressed:
            dtype, shape, begin = _idx_header(plain, path)
            _require_size(path, os.fstat(plain.fileno()).st_size, begin, dtype, shape)
            return np.memmap(path, dtype, "r", begin, shape)
        try:
            with gzip.open(plain) as file:
                dtype, shape, begin = _idx_header(file, path)
                expected = math.prod(shape) * dtype.itemsize
                content = file.read(expected + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as complaint:
            raise ValueError(f"{path}: must be a whole gzip file, but: {complaint}") from complaint
        _require_size(path, begin + len(content), begin, dtype, shape)
        return np.frombuffer(content, dtype).reshape(shape)


def _idx_header(file: Any, path: Path_) -> tuple[np.dtype, tuple[int, ...], int]:
    """Type, shape and where the numbers begin."""
    magic = file.read(4)
    known = ", ".join(f"0x{code:02x}" for code in IDX_TYPES)
    allowed = f"two zero bytes, a type (one of {known}) and a rank, as IDX files begin"
    fits = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in IDX_TYPES
    require(fits and magic[3] <= MOST_AXES, f"{path}: first four bytes", magic.hex(" "), allowed)
    rank = magic[3]
    sizes = file.read(4 * rank)
    require(len(sizes) == 4 * rank, f"{path}: bytes of sizes", len(sizes), f"{4 * rank}, truncated")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    return np.dtype(IDX_TYPES[magic[2]]), shape, 4 + 4 * rank


def _require_size(
    path: Path_, size: int, begin: int, dtype: np.dtype, shape: tuple[int, ...]
) -> None:
    expected = begin + math.prod(shape) * dtype.itemsize
    what = f"{expected}, a header and {dtype.name}{list(shape)}"
    if size < expected:
        raise ValueError(f"{path}: {size} bytes: must be {what}; the file is truncated")
    require(size == expected, f"{path}: bytes", size, f"{what}; the file has trailing bytes")


class Cifar(NamedTuple):
    """Images [n, 3, 32, 32] or [n, 32, 32, 3], labels [n], and of CIFAR-100 superclasses [n]."""

    x: UInt8[np.ndarray, "n ..."] | Joined
    y: Int32[np.ndarray, " n"]
    coarse: Int32[np.ndarray, " n"] | None


def read_cifar(
    paths: Path_ | list[Path_] | tuple[Path_, ...],
    classes: Literal[10, 100] = 10,
    *,
    channels_at: ChannelsAt = "first",
) -> Cifar:
    """Images and labels of CIFAR-10 or CIFAR-100 in the "binary version", from one file or more.

    The images of a file are mapped, those of several are `joined`: nothing is copied. Labels are
    read. `channels_at`: ``"first"``, as in the files, gives images [n, 3, 32, 32], ``"last"``
    [n, 32, 32, 3].

    Format: for each image a byte with its class (of CIFAR-100, its superclass before) and 3072
    bytes: rows of red, of green, of blue. Raises `ValueError` for files of any other size, with
    labels beyond the classes, and for the "python version", which is a pickle.

    Example:
        A file of one white image of class 7:

        >>> import pathlib, tempfile
        >>> from nsh.data import read_cifar
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "data_batch_1.bin"
        >>> _ = path.write_bytes(bytes([7]) + bytes([255]) * 3072)
        >>> data = read_cifar(path)
        >>> data.x.shape, data.y.tolist(), data.x.min().item()
        ((1, 3, 32, 32), [7], 255)
    """
    require(classes in LABELS, "classes", classes, "10 or 100")
    check_channels_at(channels_at)
    several = isinstance(paths, list | tuple)
    require(not several or len(paths) > 0, "paths", paths, "at least one file")
    parts = [_cifar_records(path, classes) for path in (paths if several else [paths])]
    images = []
    for part in parts:
        whole = part[:, LABELS[classes] :].reshape(len(part), *PIXELS)
        images.append(whole if channels_at == "first" else np.moveaxis(whole, 1, 3))
    # a copy, so that labels are no views of files
    labels = np.concatenate([part[:, : LABELS[classes]] for part in parts]).astype(np.int32)
    x = joined(images) if several else images[0]
    return Cifar(x, labels[:, -1], labels[:, 0] if classes == 100 else None)


def _cifar_records(path: Path_, classes: int) -> UInt8[np.ndarray, "n bytes"]:
    with Path(path).open("rb") as file:
        start, size = file.read(2), os.fstat(file.fileno()).st_size
    pickled = start[:1] == b"\x80"  # no class has this number
    allowed = 'the "binary version": the "python version" is a pickle, which runs code'
    require(not pickled, f"{path}", "a pickle", allowed)
    allowed = "an unpacked .bin file: unpack the archive first"
    require(start != b"\x1f\x8b", f"{path}", "a gzip file", allowed)
    record = LABELS[classes] + math.prod(PIXELS)
    other = next(n for n in LABELS if n != classes)
    fits_other = size > 0 and size % (LABELS[other] + math.prod(PIXELS)) == 0
    hint = f"; of CIFAR-{other} say classes={other}" if fits_other else ""
    allowed = f"a multiple of {record}, of an image of CIFAR-{classes} with its label{hint}"
    require(size > 0 and size % record == 0, f"{path}: bytes", size, allowed)
    records = np.memmap(path, np.uint8, "r").reshape(-1, record)
    for place in range(LABELS[classes]):
        most = SUPERCLASSES if LABELS[classes] - place == 2 else classes
        wrong = np.flatnonzero(records[:, place] >= most)
        if wrong.size:
            field = f"{path}: label of image {wrong[0]}"
            require(False, field, int(records[wrong[0], place]), f"in 0..{most - 1}{hint}")
    return records


def read_npy(path: Path_) -> np.ndarray:
    """The array in a ``.npy`` file, mapped, read-only: nothing is copied.

    Raises `ValueError` for arrays of Python objects, which are never unpickled, for files in
    another format, and for one that ends too early or goes on.

    Example:
        >>> import pathlib, tempfile
        >>> from nsh.data import read_npy
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.npy"
        >>> np.save(path, np.arange(3))
        >>> read_npy(path).tolist()
        [0, 1, 2]
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as complaint:
        raise _not_numpys(path, ".npy", complaint) from complaint
    if not isinstance(array, np.memmap):
        array.close()
        raise ValueError(f"{path}: must be an .npy file, not an .npz file, which is for read_npz")
    size, expected = Path(path).stat().st_size, array.offset + array.nbytes
    what = f"{expected}, a header and {array.dtype}{list(array.shape)}"
    require(size == expected, f"{path}: bytes", size, f"{what}; the file has trailing bytes")
    return array


def read_npz(path: Path_, *names: str) -> tuple[np.ndarray, ...]:
    """The arrays of these names in an ``.npz`` file, such as inputs and labels; read whole.

    By default ``"x", "y"``. Raises `ValueError` for names that the file does not have, arrays of
    different lengths, arrays of Python objects, which are never unpickled, and broken files.

    Example:
        >>> import pathlib, tempfile
        >>> from nsh.data import read_npz
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "set.npz"
        >>> np.savez(path, x_train=np.zeros((2, 5)), y_train=np.array([1, 0]))
        >>> x, y = read_npz(path, "x_train", "y_train")
        >>> x.shape, y.tolist()
        ((2, 5), [1, 0])
    """
    names = names or ("x", "y")
    found = []
    try:
        # opened here: NumPy leaves a broken archive open
        with Path(path).open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise _Refused("must be an .npz file, not an .npy file, which is for read_npy")
            for name in names:
                if name not in file.files:
                    known = f"{', '.join(file.files)}{nearest(name, file.files)}"
                    raise _Refused(f"array {name!r}: must be among {known}")
                found.append(file[name])
    except _Refused as complaint:
        raise ValueError(f"{path}: {complaint}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as complaint:
        raise _not_numpys(path, ".npz", complaint) from complaint
    lengths = {name: np.shape(array)[:1] for name, array in zip(names, found, strict=True)}
    allowed = f"as many rows as {names[0]!r}: {lengths[names[0]]}"
    for name, length in lengths.items():
        require(length == lengths[names[0]], f"{path}: rows of {name!r}", length, allowed)
    return tuple(found)


class _Refused(Exception):
    """A file that is whole, but not what was asked for."""


def _not_numpys(path: Path_, kind: str, complaint: Exception) -> ValueError:
    objects = "pickle" in str(complaint) or "Python objects" in str(complaint)
    allowed = NO_PICKLE if objects else f"a whole {kind} file, but: {complaint}"
    return ValueError(f"{path}: must be {allowed}")


def read_zarr(path: Path_, name: str | None = None) -> Any:
    """The Zarr array in a directory, or that of a `name` in a group; read when it is indexed.

    For `nsh.training.stream`: chunks of few whole examples are read quickest, for a mini-batch
    reads each chunk that holds one of its examples. Raises `ValueError` where there is no such
    array, `ImportError` without Zarr.

    Example:
        >>> import tempfile, zarr
        >>> from nsh.data import read_zarr
        >>> path = tempfile.mkdtemp()
        >>> zarr.create_array(path, data=np.arange(6).reshape(3, 2), overwrite=True).shape
        (3, 2)
        >>> read_zarr(path)[1].tolist()
        [2, 3]
    """
    with extra("study", "nsh.data.read_zarr"):
        import zarr
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such Zarr store")
    try:
        found = zarr.open(os.fspath(path), path=name, mode="r")
    except (FileNotFoundError, ValueError) as complaint:
        named = "" if name is None else f" with the name {name!r}"
        raise ValueError(f"{path}: must hold a Zarr array{named}, but: {complaint}") from complaint
    if isinstance(found, zarr.Group):
        arrays = ", ".join(sorted(found.array_keys())) or "none"
        raise ValueError(f"{path}: must be an array, or `name` one of this group: {arrays}")
    return found
