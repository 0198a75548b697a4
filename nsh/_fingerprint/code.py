"""What code does and which names it reads, from its bytecode; whether a package brought it."""

from __future__ import annotations

import contextlib
import dataclasses
import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = str(Path(__file__).parents[1])
GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
SILENT = ("CACHE", "EXTENDED_ARG", "PRECALL", "PUSH_NULL", "NOT_TAKEN")
METHODS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
BY_PYTHON = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)
GENERATED = (
    "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__",
    "__setattr__", "__delattr__", "__replace__",
)  # fmt: skip
"""Methods that `dataclasses` writes, which say nothing but what the fields are."""
NOWHERE = types.ModuleType("nowhere")
# their releases are recorded with every study; nsh's own source is, too
RECORDED = ("jax", "jaxlib", "numpy", "optax", "equinox", "nsh")


class Read(NamedTuple):
    """A name that code reads from its module, and the attributes that it reads of it at once."""

    name: str
    attributes: tuple[str, ...]


class Import(NamedTuple):
    """A module that code imports, and the names that it takes from there; none: all of it."""

    module: str
    names: tuple[str, ...]


def digest(code: types.CodeType) -> str:
    """SHA-256 of what code does: neither comments, docstrings nor its place in a file count."""
    return hashlib.sha256(repr(_content(code)).encode()).hexdigest()


def reads(code: types.CodeType, package: str) -> Iterator[Read | Import]:
    """List what code, and the functions in it, read by name; `package`: where it stands."""
    steps = _instructions(code)
    for i, step in enumerate(steps):
        if step.opname in GLOBALS:
            after = itertools.takewhile(lambda s: s.opname in ATTRIBUTES, steps[i + 1 :])
            yield Read(step.argval, tuple(s.argval for s in after))
        elif step.opname == "IMPORT_NAME":
            level, names = steps[i - 2].argval, steps[i - 1].argval
            module = importlib.util.resolve_name("." * level + step.argval, package)
            yield Import(module, () if names is None or "*" in names else tuple(names))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from reads(inner, package)


def is_installed(file: str) -> bool:
    """Whether a file belongs to Python, an installed package or nsh."""
    if file.startswith(("<frozen", "<@")):  # "<@": made by beartype
        return True
    if file.startswith("<"):  # typed in, or made by `exec`
        return False
    path = os.path.realpath(file)
    return any(path.startswith(folder + os.sep) for folder in _installed())


def has_installed_name(value: Any) -> bool:
    """Whether `value` is what an installed package, or nsh, has under its name."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if module is None or not isinstance(name, str) or not is_installed(_file(module)):
        return False
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


def is_installed_module(module: types.ModuleType) -> bool:
    """Whether a module belongs to Python, to an installed package or to nsh."""
    return is_installed(_file(module))


def is_of_package(cls: type) -> bool:
    """Whether a class is one of an installed package or nsh, or is made by one."""
    if has_installed_name(cls):
        return True
    own = [v for v in vars(cls).values() if isinstance(v, types.FunctionType)]
    of_package = is_installed_module(sys.modules.get(cls.__module__, NOWHERE))
    return of_package and all(is_installed(v.__code__.co_filename) for v in own)


def body(cls: type) -> Iterator[tuple[str, Any]]:
    """List what a class adds to its bases, but for what Python and `dataclasses` put there."""
    for name, value in vars(cls).items():
        hidden = name[:2] == "__" or name == "_abc_impl"
        if isinstance(value, METHODS) if hidden else not isinstance(value, BY_PYTHON):
            code = getattr(value, "__code__", None)
            if name not in GENERATED or code is None or code.co_filename != "<string>":
                yield name, value
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if field.default_factory is not dataclasses.MISSING:
            yield f"{field.name}, made by", field.default_factory


def slots(value: Any) -> dict[str, Any]:
    """List what an object keeps in slots."""
    classes = [cls for cls in type(value).__mro__ if "__slots__" in vars(cls)]
    names = {name for cls in classes for name in np.atleast_1d(vars(cls)["__slots__"]).tolist()}
    return {n: getattr(value, n) for n in names if n[:2] != "__" and hasattr(value, n)}


def closed_over(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables around a function that it uses, by name."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing is in it yet
            yield name, cell.cell_contents


@functools.cache
def release(module: str) -> str | None:
    """Package and release that a module came with; None if it is Python's, or recorded anyway."""
    top = module.partition(".")[0]
    if top in RECORDED or top in sys.stdlib_module_names:
        return None
    packages = sorted(set(importlib.metadata.packages_distributions().get(top, ())))
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages) or None


@functools.cache
def source() -> str:
    """SHA-256 of nsh's own source files."""
    root, found = Path(ROOT), hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")  # whatever ends its lines
        found.update(f"{path.relative_to(root).as_posix()} {len(text)}\n{text}".encode())
    return found.hexdigest()


source()  # of the files as they are when they are imported


def _content(code: types.CodeType) -> list[Any]:
    steps = [(step.opname, _constant(step.argval)) for step in _instructions(code)]
    takes = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    return [steps, takes, code.co_exceptiontable]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _content(value)
    if isinstance(value, frozenset):
        return "frozenset", sorted(map(repr, map(_constant, value)))
    return [_constant(one) for one in value] if isinstance(value, tuple) else repr(value)


def _instructions(code: types.CodeType) -> list[dis.Instruction]:
    return [step for step in dis.get_instructions(code) if step.opname not in SILENT]


def _file(module: types.ModuleType) -> str:
    path = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    built_in = module.__name__.partition(".")[0] in sys.stdlib_module_names
    return path or ("<frozen>" if built_in else "<typed in>")


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages(), ROOT]
    return tuple({os.path.realpath(folder) for folder in folders})
