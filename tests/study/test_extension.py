"""A store that is extended is that of a study as large from the start; nothing is lost."""

import contextlib
import dataclasses
import shutil

import pytest
from studies import files, swelling
from watched import count_blocks, crash_at, crash_everywhere, truncate

from nsh.study import StoreRefused, open_study, run_study
from nsh.study import run as run_module
from nsh.study.progress import silent

LARGE = swelling(seeds=5, chunk=4, grid={"threshold": [0.5, 1.0, 1.5]})


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The directory of a study that was as large from the start."""
    directory = tmp_path_factory.mktemp("large")
    run_study(LARGE, directory)
    return directory


@contextlib.contextmanager
def stopped_after_two(label, total):
    """Progress that ends a run after two blocks."""
    blocks = []

    def advance(count):
        blocks.append(count)
        if len(blocks) == 2:
            raise KeyboardInterrupt

    yield advance


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize(
    ("sizes", "progress", "computed"),
    [
        ({"seeds": 3}, silent, 6),  # 2 more seeds of 3 points
        ({"grid": {"threshold": [1.5, 0.5]}}, silent, 5),
        ({"grid": {"threshold": [1.5]}, "seeds": 2, "chunk": 1}, silent, 13),
        ({"chunk": 3}, silent, 0),
        ({"seeds": 4, "chunk": 2}, stopped_after_two, 11),
    ],
)
def test_extended_store_is_that_of_a_study_as_large_from_the_start(
    large, tmp_path, sizes, progress, computed
):
    with contextlib.suppress(KeyboardInterrupt):
        run_study(dataclasses.replace(LARGE, **sizes), tmp_path, progress=progress)
    before = open_study(tmp_path)
    told, trained = [], []
    count_blocks(LARGE, tmp_path, told, trained)
    assert sum(trained) == computed
    assert told[0] == f"extended, with {15 - computed} runs that were there"
    assert files(tmp_path) == files(large)
    # its chunks are those of other grid values and seeds now
    with pytest.raises(StoreRefused, match=r"has been extended.*open it again"):
        before["number"].load()
    assert open_study(tmp_path)["number"].shape == (3, 5, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"data.zarr"}


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
def test_what_is_damaged_is_not_taken_over_and_what_differs_is_refused(
    large, tmp_path, monkeypatch
):
    run_study(dataclasses.replace(LARGE, seeds=4), tmp_path)
    truncate(tmp_path / "data.zarr" / "status/c/1/0")
    told, trained = [], []
    count_blocks(LARGE, tmp_path, told, trained)
    assert told[0].startswith("threshold 1..1, seed 0..3: damaged in ")
    assert told[1] == "extended, with 8 runs that were there"
    assert sum(trained) == 7
    assert files(tmp_path) == files(large)

    def otherwise(*arguments, **options):
        found = train_members(*arguments, **options)
        return found | {"number": found["number"] + 1}

    directory = tmp_path / "other"
    run_study(dataclasses.replace(LARGE, seeds=2, grid={"threshold": [1.5]}), directory)
    train_members = run_module.train_members
    monkeypatch.setattr(run_module, "train_members", otherwise)
    with pytest.raises(StoreRefused, match="came out otherwise when they were computed again"):
        run_study(dataclasses.replace(LARGE, chunk=15), directory, report=lambda _: None)


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
def test_crash_at_every_synchronisation_of_an_extension(tmp_path, monkeypatch):
    study, smaller = swelling(seeds=5, chunk=3), swelling(seeds=4, chunk=2)
    run_study(study, tmp_path / "whole")
    run_study(smaller, tmp_path / "smaller")
    shutil.copytree(tmp_path / "smaller", tmp_path / "counted")
    calls = crash_at(monkeypatch, None)
    run_study(study, tmp_path / "counted", report=lambda _: None)
    # two empty stores; two blocks filled; all of it, in place; the block that is not whole
    total = len(calls)
    assert total == 2 + 2 * 2 + 2 + 2
    crash_everywhere(
        study,
        tmp_path,
        monkeypatch,
        total,
        lambda directory: shutil.copytree(tmp_path / "smaller", directory),
    )
