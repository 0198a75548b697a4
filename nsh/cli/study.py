"""``nsh study FILE``."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from nsh.cli.exits import BAD_INPUT, DONE, NOT_TUNED, REFUSED, Failure, directory, explained, needs
from nsh.cli.options import Flag
from nsh.cli.parsing import parse

EXAMPLES = """\
examples:
  nsh study experiments/studies/growth_rate.toml
  nsh study mine.toml --out /data/mine

Commented files to start from are in experiments/studies of nsh's repository."""


@dataclasses.dataclass(frozen=True)
class StudyCommand:
    """Run a hyperparameter study described by a TOML file, or resume it.

    Results: DIR/data.zarr (read it by nsh.study.open_study or xarray.open_zarr), figure.png and
    figure.pdf. Stop a study when you like, by SIGKILL or a power cut too: the same command goes on
    with it, and the arrays are bit for bit those of an uninterrupted run.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The study."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: results/ and FILE's name)"),
    ] = None
    """Directory for the results."""
    quiet: Flag = False
    """Say nothing but errors and the last line."""
    no_cache: Flag = False
    """Compile all programs anew, and keep none in the user's cache folder."""


def completed() -> type:
    """What a shell offers after the command's name."""
    return StudyCommand


def main(arguments: Sequence[str]) -> int:
    """Run the study that the arguments ask for."""
    return _run(parse(StudyCommand, "study", arguments, more=EXAMPLES))


def _run(asked: StudyCommand) -> int:
    # here, and not above: --help does not wait for it
    with needs("study"):
        from nsh import study
        from nsh.cli.caching import programs_kept
        from nsh.cli.stopping import stoppable
        from nsh.study import tables
        from nsh.study.progress import shown_on, silent
        from nsh.study.summary import in_words, is_tuned

    out = Path("results") / asked.file.stem if asked.out is None else asked.out
    shown = contextlib.nullcontext(silent) if asked.quiet else shown_on(sys.stderr)
    report = (lambda _: None) if asked.quiet else _say
    kept = programs_kept(not asked.no_cache)
    with (
        explained(out), kept, shown as progress, stoppable(progress) as watched,
        warnings.catch_warnings(),
    ):  # fmt: skip
        warnings.filterwarnings("always", "tune: ")
        warnings.showwarning = lambda message, *_, **__: report(f"{message}")
        try:
            described = study.read_study(asked.file)
            with tables.handle_errors("code of your own fails"):
                dataset = study.run_study(
                    described, directory(out), progress=watched, report=report
                )
        except study.StudyFileError as problem:
            raise Failure(BAD_INPUT, f"{problem}") from problem
        except study.StoreRefused as problem:
            raise Failure(REFUSED, f"{problem}") from problem
        except ValueError as problem:
            raise Failure(BAD_INPUT, f"{asked.file}: {problem}") from problem
        except BlockingIOError as problem:
            raise Failure(REFUSED, f"{problem}") from problem
    print(f"{in_words(dataset)}; data.zarr, figure.png and figure.pdf are in {out}/")
    return DONE if is_tuned(dataset) else NOT_TUNED


def _say(message: str) -> None:
    print(f"nsh study: {message}", file=sys.stderr, flush=True)
