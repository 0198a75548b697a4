"""Runs of studies that are watched, and that crash where they are told to."""

import pytest
from studies import files

from nsh.study import run_study
from nsh.study import store as store_module


class Crash(BaseException):
    """The process ends here."""


def crash_at(monkeypatch, number):
    """Crash at the given disk synchronisation; how often the disk was synchronised so far."""
    calls = []
    true_sync = store_module.sync

    def sync(paths, root):
        calls.append(root)
        if len(calls) == number:
            raise Crash
        true_sync(paths, root)

    monkeypatch.setattr(store_module, "sync", sync)
    return calls


def crash_everywhere(study, tmp_path, monkeypatch, total, begun):
    for number in range(1, total + 1):
        directory = tmp_path / str(number)
        begun(directory)
        with monkeypatch.context() as patch:
            crash_at(patch, number)
            with pytest.raises(Crash):
                run_study(study, directory, report=lambda _: None)
        run_study(study, directory, report=lambda _: None)
        assert files(directory) == files(tmp_path / "whole"), number


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def count_blocks(study, directory, told, computed):
    """Run a study, noting its messages and the number of members of each block computed."""

    class Advance:
        def __enter__(self):
            return computed.append

        def __exit__(self, *problem):
            pass

    run_study(study, directory, progress=lambda label, total: Advance(), report=told.append)
