"""Command lines to dataclasses, by tyro; all errors in the style of nsh, in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from nsh._checks import nearest
from nsh.cli.exits import BAD_INPUT, EXIT_CODES, Failure

T = TypeVar("T")
WORDS = {int: "an integer", float: "a number", str: "a word", Path: "a path"}
PLURAL = {int: "integers", float: "numbers", str: "words"}


def parse(
    kind: type[T],
    command: str,
    arguments: Sequence[str],
    *,
    more: str = "",
    default: Any = None,
    prefixes: bool = True,
) -> T:
    """A dataclass made of command-line arguments.

    Fields without a default are positional. `more`: what ``--help`` says besides, before the exit
    codes. `prefixes`: whether options of nested dataclasses have the name of these before theirs.
    Raises `Failure`; leaves by ``SystemExit`` on ``--help``.
    """
    shown = io.StringIO()  # to tyro it is no terminal: neither colours nor boxes
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            return tyro.cli(
                kind,
                prog=f"nsh {command}",
                args=arguments,
                config=() if prefixes else (tyro.conf.OmitArgPrefixes,),
                **({} if default is None else {"default": default}),
            )
    except SystemExit as stop:
        if stop.code:
            said = _complaint(kind, arguments, prefixes) or " ".join(shown.getvalue().split())
            raise Failure(BAD_INPUT, said) from None
        print("\n\n".join(filter(None, [_plain(shown.getvalue()), more, EXIT_CODES])))
        raise


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with their meanings beside them, as wide as the terminal."""
    pairs = list(pairs)
    width = shutil.get_terminal_size().columns
    indent = max(len(name) for name, _ in pairs) + 4
    return "\n".join(
        textwrap.fill(
            meaning,
            width=max(width, indent + 20),
            initial_indent=f"  {name:<{indent - 2}}",
            subsequent_indent=" " * indent,
        )
        or f"  {name}"
        for name, meaning in pairs
    )


def _plain(text: str) -> str:
    """Without rules below headings and spaces at ends of lines; no line wider than the terminal."""
    text = re.sub(r"^ (\S.*?) *\n -+ *$", r"\1:", text, flags=re.MULTILINE)
    text = re.sub(r"^ +-+ *\n", "", text, flags=re.MULTILINE)
    width = shutil.get_terminal_size().columns
    return "\n".join(textwrap.fill(line, width) for line in text.rstrip().splitlines())


def _complaint(kind: type, arguments: Sequence[str], prefixes: bool) -> str:
    """Say what is wrong with arguments that tyro refuses."""
    options = dict(_options(kind, prefixes))
    given, loose = _given(arguments, options)
    for option, values in given:
        hint = options.get(spelled(option))
        if hint is None:
            close = nearest(spelled(option)[2:], (name[2:] for name in options))
            return f"{option}: no such option{close.replace('mean ', 'mean --')}"
        if not _fits(hint, values):
            return _wrong(option, values, hint)
    hints = typing.get_type_hints(kind)
    wanted = {
        field.name.upper(): hints[field.name]
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for (name, hint), value in zip(wanted.items(), loose, strict=False):
        if not _fits(hint, [value]):
            return _wrong(name, [value], hint)
    if len(loose) > len(wanted):
        return f"{loose[len(wanted)]!r}: no such argument"
    missing = list(wanted)[len(loose) :]
    return f"{missing[0]} is missing" if missing else ""


def _options(kind: type, prefixes: bool, before: str = "--") -> Iterator[tuple[str, object]]:
    """All options and their types."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            inner = f"{before}{name}." if prefixes else before
            yield from _options(typing.cast(type, hint), prefixes, inner)
        else:
            yield spelled(before + name), hint


def _given(
    arguments: Sequence[str], options: dict[str, object]
) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Options with their values, and what is positional."""
    given: list[tuple[str, list[str]]] = []
    loose: list[str] = []
    room = 0.0
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            given.append((name, [value] if equals else []))
            hint = options.get(spelled(name))
            room = float("inf") if typing.get_origin(hint) is tuple else hint is not bool
            room -= bool(equals)
        elif room > 0:
            given[-1][1].append(argument)
            room -= 1
        else:
            loose.append(argument)
    return given, loose


def spelled(option: str) -> str:
    """With dashes, as shown; underscores are taken too."""
    return option.replace("_", "-")


def _fits(hint: Any, values: Sequence[str]) -> bool:
    if hint is bool:
        return not values
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            tyro.cli(hint, args=values)
    except SystemExit:
        return False
    return True


def _wrong(name: str, values: Sequence[str], hint: object) -> str:
    allowed = _allowed(hint, values)
    if not values:
        return f"{name}: its value is missing, {allowed}"
    return f"{name} = {' '.join(values)!r}: must be {allowed}"


def _allowed(hint: object, values: Sequence[str]) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return "given without a value"
    if origin is typing.Literal:
        close = nearest(values[0], arguments) if values else ""
        return f"one of {', '.join(map(str, arguments))}{close}"
    if origin is tuple:
        count = "" if arguments[-1] is ... else f"{len(arguments)} "
        return count + PLURAL.get(arguments[0], "values")
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_allowed(a, values) for a in arguments if a is not type(None))
    return WORDS.get(hint, "a value")
