"""TOML tables to Python calls: every error says file, line, field, value and what is allowed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import re
import sys
import tomllib
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, Array

from nsh._checks import nearest
from nsh._fingerprint.code import is_installed

WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
HEADER = re.compile(rf"\s*\[\[?\s*({KEY}(?:\s*\.\s*{KEY})*)\s*\]\]?\s*(?:#.*)?$")
ENTRY = re.compile(rf"\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")


class StudyFileError(ValueError):
    """A study file that says something it cannot mean."""


@dataclasses.dataclass(frozen=True)
class Registry:
    """Names that a file may use for a thing: a string, or a table of `name` and options.

    `make`: by name, functions of the options. `prefixes`: what to do with the thing if the name
    has a prefix. `user`: what to make of a user's own ``"module:function"`` and its options.
    `around`: what to do with the thing if an option of this name is true.
    """

    make: Mapping[str, Callable[..., Any]]
    prefixes: Mapping[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    user: Callable[[Callable[..., Any], Mapping[str, Any]], Any] | None = None
    around: Mapping[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)

    def __hash__(self) -> int:
        return id(self)


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a file, by the names that lead to it."""

    file: str
    lines: Mapping[str, int]
    path: tuple[str, ...] = ()

    def __truediv__(self, name: str) -> Field:
        return dataclasses.replace(self, path=(*self.path, name))

    def __str__(self) -> str:
        return ".".join(self.path)

    def error(self, message: str) -> StudyFileError:
        """An error here, or at the nearest field around it that has a line of its own."""
        depth, line = self.nearest_line()
        where = self.file if depth == 0 else f"{self.file}, line {line}"
        return StudyFileError(f"{where}: {message}")

    def nearest_line(self) -> tuple[int, int]:
        """How many of the names that lead here lead to a line, and the line; 0, 0: none do."""
        names = str(self).split(".")
        for depth in range(len(names), 0, -1):
            if (name := ".".join(names[:depth])) in self.lines:
                return depth, self.lines[name]
        return 0, 0

    def wrong(self, value: Any, allowed: str) -> StudyFileError:
        """An error about this field's value."""
        return self.error(f"{self} = {value!r}: must be {allowed}")

    def unknown(self, name: str, allowed: Iterable[str]) -> StudyFileError:
        """An error about a key of this table."""
        allowed = list(allowed)
        known = f"known here: {', '.join(allowed)}" if allowed else "there is none here"
        return (self / name).error(f"{self / name}: unknown key{nearest(name, allowed)} ({known})")

    def of(self, problem: ValueError, also: Iterable[str] = ()) -> StudyFileError:
        """Add file and line to a `ValueError` of a function, by the argument that it names.

        `also`: tables to look for that argument in, besides this one.
        """
        text = str(problem)
        field = re.match(r"([A-Za-z_][\w.\[\]'\"]*) = ", text)
        if field is None:
            return self.error(f"{self}: {text}" if self.path else text)
        names = re.sub(r"\[['\"]?([^\]'\"]*)['\"]?\]", r".\1", field[1])
        fields = [(self / names, 0), *((self / table / names, 1) for table in also)]
        # a line that is only the other table's says nothing
        best, _ = max(fields, key=lambda pair: pair[0].nearest_line()[0] - pair[1])
        return best.error(f"{self}.{text}" if self.path else text)


def load(path: Path) -> tuple[dict[str, Any], Field]:
    """The tables of a TOML file, and the field that they are at."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        close = nearest(path.name, (file.name for file in path.parent.glob("*.toml")))
        said = f"{path}: cannot be read: {problem.strerror}{close}"
        raise StudyFileError(said) from problem
    except UnicodeDecodeError as problem:
        raise StudyFileError(f"{path}: cannot be read: {problem}") from problem
    try:
        return tomllib.loads(text), Field(str(path), line_numbers(text))
    except tomllib.TOMLDecodeError as problem:
        what, _, where = str(problem).partition(" (at ")
        where = where.removesuffix(")") or "line 1"
        raise StudyFileError(f"{path}, {where}: not TOML: {what}") from problem


def line_numbers(text: str) -> dict[str, int]:
    """The line of every key and table that begins a line, by dotted name."""
    table, found = "", {}
    for number, line in enumerate(text.splitlines(), 1):
        header, entry = HEADER.match(line), ENTRY.match(line)
        if header:
            table = _plain(header[1])
            found.setdefault(table, number)
        elif entry:
            found.setdefault(f"{table}.{_plain(entry[1])}".lstrip("."), number)
    return found


def construct(
    function: Callable[..., Any], table: Any, field: Field, also: Iterable[str] = ()
) -> Any:
    """``function(**table)``, each value checked against the annotation of its parameter.

    `also`: further keys that are known here, to be named where one is unknown.
    """
    if not isinstance(table, dict):
        raise field.wrong(table, "a table")
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(function, include_extras=True)
    for name in table:
        if name not in parameters:
            raise field.unknown(name, [*parameters, *also])
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in table:
            raise field.error(f"{field / name}: missing, and needed")
    values = {n: convert(value, hints.get(n, Any), field / n) for n, value in table.items()}
    try:
        return function(**values)
    except StudyFileError:
        raise
    except ValueError as problem:
        raise field.of(problem) from problem


def convert(value: Any, hint: Any, field: Field) -> Any:
    """A value of TOML as what an annotation asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return choose(arguments[1], value, field)
    if origin in (typing.Union, types.UnionType):
        plain = [a for a in arguments if a is not type(None) and not _is_array(a)]
        return _one_of(value, plain, field)
    if origin is typing.Literal:
        if value not in arguments:
            allowed = ", ".join(map(repr, arguments))
            raise field.wrong(value, f"one of {allowed}{nearest(str(value), arguments)}")
        return value
    if origin in (tuple, Sequence):
        if not isinstance(value, list):
            raise field.wrong(value, "a list")
        return tuple(convert(v, arguments[0], field / str(i)) for i, v in enumerate(value))
    if hint in WORDS:
        right = isinstance(value, (int, float) if hint is float else hint)
        if not right or (isinstance(value, bool) and hint is not bool):
            raise field.wrong(value, WORDS[hint])
        return hint(value)
    if origin is Callable or hint is Callable:
        if not (isinstance(value, str) and ":" in value):
            raise field.wrong(value, 'a function of your own, "module:function"')
        return _imported(value, field)
    if hint is Path:
        if not isinstance(value, str):
            raise field.wrong(value, "the path of a file")
        return Path(field.file).parent / value  # beside the study file, wherever one is
    if hint is dict or origin is dict:
        if not isinstance(value, dict):
            raise field.wrong(value, "a table")
        return value
    if hint is Any or _is_array(hint):
        return numbers(value, field, whole=_is_array(hint) and _is_integral(hint))
    if inspect.isabstract(hint):
        return choose(subclasses_of(hint), value, field)
    return construct(hint, value, field)


def numbers(value: Any, field: Field, *, whole: bool = False) -> Array:
    """A number, or a list of them, as an array."""
    try:
        plain = np.asarray(value).dtype.kind in ("iu" if whole else "iuf")
    except ValueError:  # lists of different lengths
        plain = False
    if not plain:
        some = ("an integer", "integers") if whole else ("a number", "numbers")
        raise field.wrong(value, f"{some[0]} or a list of {some[1]}")
    return jnp.asarray(value, int if whole else float)


def choose(choice: Registry, value: Any, field: Field) -> Any:
    """Make what a name, or a table of name and options, stands for."""
    options = dict(value) if isinstance(value, dict) else {"name": value}
    if "name" not in options:
        raise field.error(f"{field}: needs a name, one of {', '.join(choice.make)}")
    name = options.pop("name")
    if not isinstance(name, str):
        raise (field / "name").wrong(name, "a string")
    if choice.user is not None and ":" in name:
        function = _imported(name, field)
        try:
            with handle_errors(f"{name} fails"):
                return choice.user(function, options)
        except ValueError as problem:
            raise field.of(problem) from problem
    prefix = next((p for p in choice.prefixes if name.startswith(p)), "")
    plain = name.removeprefix(prefix)
    if plain not in choice.make:
        users = ' or "module:function"' if choice.user is not None else ""
        allowed = f"one of {', '.join(choice.make)}{users}{nearest(name, choice.make)}"
        raise field.wrong(name, allowed)
    around = [
        choice.around[key]
        for key in choice.around
        if convert(options.pop(key, False), bool, field / key)
    ]
    made = construct(choice.make[plain], options, field, choice.around)
    for outer in around:
        made = outer(made)
    return choice.prefixes[prefix](made) if prefix else made


@functools.cache
def subclasses_of(base: type) -> Registry:
    """The public subclasses of an abstract class, by their names in snake case.

    They are those in `__all__` of the package that the class is defined in. A kind whose one field
    is another thing of that kind, such as `PerLevel`, is an option of the others:
    ``per_level = true``.
    """
    package = importlib.import_module(base.__module__.rpartition(".")[0])
    public = {snake_case(name): getattr(package, name) for name in package.__all__}
    kinds = {name: kind for name, kind in public.items() if _is_kind(kind, base)}
    around = {n: k for n, k in kinds.items() if list(typing.get_type_hints(k).values()) == [base]}
    return Registry({n: k for n, k in kinds.items() if n not in around}, around=around)


def snake_case(name: str) -> str:
    """``WithReplacement`` as ``with_replacement``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _is_kind(thing: Any, base: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, base) and not inspect.isabstract(thing)


def require_takes(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Raise ``ValueError`` for options that a user's function does not take, or lacks."""
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError as problem:
        raise ValueError(f"{getattr(function, '__name__', 'function')}(): {problem}") from problem


def _is_array(hint: Any) -> bool:
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)


def _is_integral(hint: Any) -> bool:
    return all(str(dtype).startswith(("int", "uint")) for dtype in hint.dtypes)


def _one_of(value: Any, hints: list[Any], field: Field) -> Any:
    *others, last = hints
    for hint in others:
        with contextlib.suppress(StudyFileError):
            return convert(value, hint, field)
    if others and not isinstance(value, list | dict):
        raise field.wrong(value, " or ".join(WORDS.get(hint, "a list") for hint in hints))
    return convert(value, last, field)


def _imported(name: str, field: Field) -> Callable[..., Any]:
    try:
        found = import_own(name, Path(field.file).parent)
    except ValueError as problem:
        raise field.wrong(name, f"a function that can be imported, but: {problem}") from problem
    if not callable(found):
        raise field.wrong(name, "a function")
    return found


def _plain(key: str) -> str:
    """A dotted key without quotes and spaces."""
    return ".".join(part.strip("\"'") for part in re.findall(KEY, key))


def import_own(name: str, folder: Path) -> Any:
    """Import ``module:name`` from `folder` or from Python's path.

    Raises `ValueError` that says what stands in the way.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{module!r} is no name of a module, such as package.module")
    with import_path(folder), handle_errors(f"{module} fails"):
        try:
            found = importlib.import_module(module)
        except ImportError as problem:
            raise ValueError(f"{problem}") from problem
    if not hasattr(found, attribute):
        raise ValueError(f"module {module!r} has no attribute {attribute!r}")
    return getattr(found, attribute)


@contextlib.contextmanager
def import_path(folder: Path) -> Iterator[None]:
    """Imports look in `folder` first."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.pop(0)


@contextlib.contextmanager
def handle_errors(what: str) -> Iterator[None]:
    """An error from a user's own code as a `ValueError`, with the field it comes from.

    What is one already says enough; other errors, those of the disk too, are none of that code.
    """
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as problem:
        field = _place(problem)
        if not field:
            raise
        text = str(problem).partition("\n")[0]
        raise ValueError(f"{what}: {type(problem).__name__}: {text} ({field})") from problem


def _place(problem: Exception) -> str:
    """The last line of code outside Python and installed packages that led to it; or nothing."""
    if isinstance(problem, SyntaxError):
        return f"{problem.filename}, line {problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if not is_installed(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else ""
