"""Data to train on: files read as arrays, labels as numbers, and what is done to inputs.

Light to import: Zarr and scikit-learn are imported when they are asked for. Nothing is ever
unpickled.
"""

from nsh.data.classes import Classes
from nsh.data.digits import Digits, digits, subclasses
from nsh.data.files import Cifar, read_cifar, read_idx, read_npy, read_npz, read_zarr
from nsh.data.source import Joined, joined
from nsh.data.transforms import Standardise, add_noise, random_crop, random_flip

__all__ = [
    "Cifar",
    "Classes",
    "Digits",
    "Joined",
    "Standardise",
    "add_noise",
    "digits",
    "joined",
    "random_crop",
    "random_flip",
    "read_cifar",
    "read_idx",
    "read_npy",
    "read_npz",
    "read_zarr",
    "subclasses",
]
