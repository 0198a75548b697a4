"""What a value is, as JSON: equal for two values if and only if they compute the same.

A `Description` holds numbers, and the code that functions and classes lead to.
"""

from __future__ import annotations

import dataclasses
import decimal
import enum
import fractions
import functools
import hashlib
import importlib
import inspect
import json
import math
import pathlib
import re
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nsh._fingerprint import code
from nsh.data.source import Source, rows_at_once

SHOWN = 60


def canonical(description: Any) -> str:
    """A description as JSON text, the same text for equal descriptions."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(before: Any, now: Any) -> list[str]:
    """List differences of two descriptions, as ``field: before there, now here``."""
    return [line for line in _differences(before, now, "") if line]


def _differences(before: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            one, other = before.get(name, "nothing"), now.get(name, "nothing")
            if _is_digest(one) and _is_digest(other):
                yield "" if one == other else f"{path or name}: changed"
            else:
                # the numbers of an array are what its name stands for
                yield from _differences(one, other, path if name == "values" else _join(path, name))
    elif _is_nested(before) and _is_nested(now) and len(before) == len(now):
        for i, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, f"{path}[{i}]")
    elif canonical(before) != canonical(now):
        values = f"{_short(before, now)} there, {_short(now, before)} here"
        yield f"{path}: {values}" if path else values


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _short(value: Any, other: Any) -> str:
    """At most 60 characters, those among them in which it differs from the other."""
    text, against = (v if isinstance(v, str) else json.dumps(v) for v in (value, other))
    if len(text) <= SHOWN:
        return text
    same = next((i for i, (a, b) in enumerate(zip(text, against, strict=False)) if a != b), 0)
    start = max(0, min(same - SHOWN // 2, len(text) - SHOWN))
    return "..." * (start > 0) + text[start : start + SHOWN] + "..." * (start + SHOWN < len(text))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value)


LARGEST_SHOWN = 16
WRITTEN = (
    range, slice, types.EllipsisType, types.NotImplementedType, types.GenericAlias,
    types.UnionType, fractions.Fraction, decimal.Decimal, pathlib.PurePath, re.Pattern, np.dtype,
)  # fmt: skip
"""Types whose values are told apart by what `repr` writes."""
DYNAMIC = ("eval", "exec", "globals", "open", "input", "__import__")
"""Built-in functions by which code reaches what nobody can see in it."""


class Description:
    """Describes values as JSON that tells them from any other, and collects what they lead to.

    Arrays of more than 16 entries are given by their SHA-256. Functions and classes of Python, of
    installed packages and of nsh are given by name, for releases and nsh's source are recorded.
    Of all others the bytecode is read; so is what they close over, their default arguments, and
    what they read from their modules: functions, classes with all methods, constants and so on.

    `code`: by name, what was found in modules and classes. `releases`: of the installed packages
    met. `unseen`: by name, what code reads and cannot be described.
    """

    def __init__(self):
        self.code: dict[str, Any] = {}
        self.releases: dict[str, str] = {}
        self.unseen: dict[str, str] = {}
        self._waiting: list[Callable[[], None]] = []  # no recursion: code may be deep
        self._names: dict[str, list[Any]] = {}  # objects of one name, in the order met
        self._inside: list[Any] = []

    def of(self, value: Any) -> Any:
        """A value as JSON. Raises `ValueError` for what cannot be told apart."""
        found = self._of(value, "")
        while self._waiting:
            self._waiting.pop()()
        return found

    def _of(self, value: Any, reader: str) -> Any:
        """A value as JSON; `reader`: the name of the code that reads it, if any."""
        if any(value is one for one in self._inside):
            return {"again": _type_name(value)}
        self._inside.append(value)
        try:
            return self._plain(value, reader)
        finally:
            self._inside.pop()

    def _plain(self, value: Any, reader: str) -> Any:
        if isinstance(value, enum.Enum):
            return {"type": self._class(type(value)), "name": value.name}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, complex):
            return {"complex": [str(value.real), str(value.imag)]}
        if isinstance(value, bytes | bytearray):
            return {"sha256": hashlib.sha256(value).hexdigest()}
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            return self._of(value.tolist(), reader)
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return array(value)
        if isinstance(value, Source):  # by what is in it, wherever it is
            shape = list(value.shape)
            return {"dtype": str(value.dtype), "shape": shape, "sha256": value.digest()}
        if isinstance(value, jax.ShapeDtypeStruct):
            return {"dtype": str(value.dtype), "shape": list(value.shape)}
        if isinstance(value, Mapping):
            return {self._key(name, reader): self._of(value[name], reader) for name in value}
        if isinstance(value, set | frozenset):
            return {"set": sorted((self._of(v, reader) for v in value), key=json.dumps)}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = zip(getattr(value, "_fields"), value, strict=True)  # noqa: B009
            return {"type": self._class(type(value))} | {n: self._of(v, reader) for n, v in fields}
        if isinstance(value, list | tuple):
            return [self._of(entry, reader) for entry in value]
        if isinstance(value, jax.tree_util.PyTreeDef):
            return self._of(jax.tree.unflatten(value, range(value.num_leaves)), reader)
        if isinstance(value, inspect.Signature):
            return list(value.parameters)
        if isinstance(value, WRITTEN):
            return {"type": _type_name(value), "is": repr(value)}
        return self._reached(value, reader)

    def _reached(self, value: Any, reader: str) -> Any:
        """Code, and what has a class of its own."""
        if isinstance(value, type):
            return {"class": self._class(value)}
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if isinstance(value, functools.partial):
            bound = {"args": self._of(value.args, reader)}
            bound |= {"keywords": self._of(value.keywords, reader)}
            return {"function": self._of(value.func, reader)} | bound
        if isinstance(value, weakref.ReferenceType):
            return self._of(value(), reader)
        if isinstance(value, types.MethodType):
            own = self._of(value.__self__, reader)
            return {"function": self._of(value.__func__, reader), "self": own}
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.BuiltinMethodType) and not code.has_installed_name(value):
            return {"method": value.__name__, "self": self._of(value.__self__, reader)}
        if isinstance(value, staticmethod | classmethod):
            return self._of(value.__func__, reader)
        if isinstance(value, property):
            return [self._of(part, reader) for part in (value.fget, value.fset)]
        if isinstance(value, functools.cached_property):
            return self._of(value.func, reader)
        if callable(value) and code.has_installed_name(value):
            return self._named(value)
        fields = self._fields(value)
        if fields is None:
            return self._hidden(value, reader)
        return {"type": self._class(type(value))} | {n: self._of(v, reader) for n, v in fields}

    def _fields(self, value: Any) -> Iterable[tuple[str, Any]] | None:
        """What an object consists of, as far as that can be known."""
        if dataclasses.is_dataclass(value):
            return [(f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value)]
        within = dict(getattr(value, "__dict__", {}))
        if not code.is_of_package(type(value)):
            return sorted((within | code.slots(value)).items())
        inner = getattr(value, "__wrapped__", None)
        if not callable(value) or inner is None:
            return None
        # by `jax.jit`, `jax.custom_jvp`, `functools.cache`, ...
        rules = {n: v for n, v in within.items() if n[0] != "_" and callable(v)}
        return sorted(({"wrapped": inner} | rules).items())

    def _function(self, value: types.FunctionType) -> Any:
        if code.has_installed_name(value):
            return self._named(value)
        name, of_package = _name(value), code.is_installed(value.__code__.co_filename)
        found: dict[str, Any] = {"function": name}
        if value.__closure__:
            found["closure"] = {n: self._of(v, name) for n, v in code.closed_over(value)}
        if of_package:
            self._meet(value.__globals__.get("__name__") or value.__module__)
            if (inner := getattr(value, "__wrapped__", None)) is not None:
                inside = {} if value.__closure__ else {"wrapped": self._of(inner, name)}
                return found | inside
        else:
            found["code"] = code.digest(value.__code__)
            self._read_by(value, name)
        defaults, more = [value.__defaults__, value.__kwdefaults__], vars(value)
        if defaults != [None, None]:
            found["defaults"] = self._of(defaults, name)
        return found | ({"attributes": self._of(more, name)} if more else {})

    def _read_by(self, function: types.FunctionType, reader: str) -> None:
        """What a function reads from its module and imports."""
        names = function.__globals__
        own = self._unique(names.get("__name__", "somewhere"), names)
        package = names.get("__package__") or own.rpartition(".")[0]
        for read in code.reads(function.__code__, package):
            if isinstance(read, code.Import):
                self._imported(read, reader)
            elif read.name in names:
                self._entry(f"{own}.{read.name}", names[read.name], read.attributes)
            elif read.name in DYNAMIC:
                self.unseen[f"what {reader} reaches by {read.name}()"] = "not in its code"

    def _imported(self, read: code.Import, reader: str) -> None:
        try:
            module = importlib.import_module(read.module)
        except Exception as problem:
            self.unseen[f"{read.module}, imported by {reader}"] = type(problem).__name__
            return
        for name in read.names or ("",):
            below = (name,) if hasattr(module, name) else ()
            self._entry(read.module, module, below)

    def _entry(self, name: str, value: Any, attributes: tuple[str, ...] = ()) -> None:
        """Describe what code reads under a name, once; of a module only the attributes it reads."""
        while isinstance(value, types.ModuleType) and attributes:
            if code.is_installed_module(value):
                break
            name, value = f"{value.__name__}.{attributes[0]}", getattr(value, attributes[0], None)
            attributes = attributes[1:]
        self._later(name, lambda: self._of(value, name))

    def _later(self, name: str, describe: Callable[[], Any]) -> None:
        def write() -> None:
            self.code[name] = describe()

        if name not in self.code:
            self.code[name] = None
            self._waiting.append(write)

    def _module(self, module: types.ModuleType) -> Any:
        name = module.__name__
        if code.is_installed_module(module):
            self._meet(name)
        else:
            for entry, value in sorted(vars(module).items()):
                if entry[:2] != "__":
                    self._entry(f"{name}.{entry}", value)
        return {"module": name}

    def _class(self, cls: type) -> str:
        """A class's name; it and its bases are looked at unless a package brought them."""
        if code.is_of_package(cls):
            return self._named(cls)
        name = self._unique(_name(cls), cls)

        def describe() -> Any:
            bases = [self._class(base) for base in (*cls.__bases__, type(cls))]
            return {"bases": bases} | {n: self._of(v, name) for n, v in sorted(code.body(cls))}

        self._later(f"class {name}", describe)
        return name

    def _named(self, value: Any) -> str:
        self._meet(value.__module__)
        return _name(value)

    def _meet(self, module: str) -> None:
        if (release := code.release(module)) is not None:
            self.releases[module.partition(".")[0]] = release

    def _key(self, name: Any, reader: str) -> str:
        return name if isinstance(name, str) else json.dumps(self._of(name, reader))

    def _unique(self, name: str, value: Any) -> str:
        """The name, numbered if it is another's already."""
        known = self._names.setdefault(name, [])
        if not any(value is one for one in known):
            known.append(value)
        index = next(i for i, one in enumerate(known) if one is value)
        return f"{name}#{index + 1}" if index else name

    def _hidden(self, value: Any, reader: str) -> Any:
        if not reader:
            raise ValueError(
                f"{value!r}: must be made of numbers, arrays, dataclasses and functions, or nobody "
                "can say whether a run begun with it is the same"
            )
        if type(value) is not object:  # which nothing but itself is equal to
            self.unseen[reader] = _type_name(value)
        return {"type": _type_name(value)}


def array(value: Any) -> dict[str, Any]:
    """An array's type, and its entries or, if they are many, their SHA-256."""
    kind = str(value.dtype)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    entries = np.asarray(value)
    if entries.size <= LARGEST_SHOWN:
        # by way of str: the shortest number that is this one in its own precision
        exact = entries.astype(str).astype(float) if entries.dtype.kind == "f" else entries
        return {"dtype": kind, "values": Description().of(exact.tolist())}
    content = hashlib.sha256()
    size = rows_at_once(entries.shape, entries.dtype)
    for first in range(0, len(entries), size):  # a mapped file may be larger than memory
        content.update(np.ascontiguousarray(entries[first : first + size]).tobytes())
    return {"dtype": kind, "shape": list(entries.shape), "sha256": content.hexdigest()}


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None) or ""
    return f"{module}.{getattr(value, '__qualname__', value.__name__)}"


def _type_name(value: Any) -> str:
    return _name(type(value))
