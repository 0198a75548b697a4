"""SIGKILL at random moments: what is resumed is byte for byte what nothing interrupted."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import command
from studies import FILE, assert_same_bytes, files, write

from nsh.study import open_study

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("NSH_KILLS", "4"))
# more blocks than elsewhere, so that there is more to kill
TEXT = FILE.replace("seeds = 5", "seeds = 40").replace("chunk = 4", "chunk = 5")
# one chunk of long runs, which are saved as they go
LONG = FILE.replace("steps = 8", "steps = 60000\ncheckpoint_every = 500")
LONG = LONG.replace("chunk = 4", "chunk = 15").replace("every = 4", "every = 20000")

RESULTS = {"data.zarr", "figure.png", "figure.pdf"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Programs are compiled once, by the first run."""
    return {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("programs")),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        "jax_persistent_cache_enable_xla_caches": "none",
    }


@pytest.fixture(scope="module")
def environment(settings):
    jax_settings = {name.upper(): str(value) for name, value in settings.items()}
    return os.environ | jax_settings | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


def start(environment, file, out):
    command = [sys.executable, "-m", "nsh", "study", str(file), "--out", str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def uninterrupted(environment, tmp_path_factory):
    """File and directory of a run that nothing interrupts."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    file = write(directory, TEXT)
    finish(start(environment, file, directory / "out"))
    return file, directory / "out"


def assert_finished_alike(directory, expected):
    assert_same_bytes(open_study(directory), open_study(expected))
    assert files(directory) == files(expected)
    names = {path.name for path in directory.iterdir()}
    # a figure that was being written may be left; nothing else is
    assert {name for name in names if not name.startswith(".figure.")} == RESULTS


@pytest.mark.long
def test_kills_at_random_moments(settings, uninterrupted, tmp_path):
    file, expected = uninterrupted
    moments = random.Random(0)

    def started(out):
        process = command(["study", str(file), "--out", str(out)], settings)
        process.start()
        return process

    first = started(tmp_path / "first")
    begun = time.monotonic()
    first.join()
    seconds = time.monotonic() - begun
    kills, runs = 0, 0
    while kills < KILLS:
        out, runs = tmp_path / str(runs), runs + 1
        while True:
            process = started(out)
            process.join(moments.uniform(0, seconds) if kills < KILLS else None)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
        assert process.exitcode == 0
        assert_finished_alike(out, expected)


@pytest.mark.long
def test_kills_inside_one_run(settings, tmp_path):
    file, moments = write(tmp_path, LONG), random.Random(0)

    def started(out):
        process = command(["study", str(file), "--out", str(out)], settings)
        process.start()
        return process

    def last(out):
        """The step after which the run would go on."""
        ends = [int(path.stem) for path in out.glob("under_way/*/members-0/0*.carried")]
        return max(ends, default=0)

    whole = started(tmp_path / "whole")
    whole.join()
    assert whole.exitcode == 0
    kills, runs = 0, 0
    while kills < KILLS:
        out, runs, reached = tmp_path / str(runs), runs + 1, 0
        while kills < KILLS:
            process = started(out)
            while last(out) == reached and process.exitcode is None:
                time.sleep(0.0005)
            process.join(moments.uniform(0, 0.03))
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
            assert last(out) > reached  # each goes on where the one before was killed
            reached = last(out)
        process = started(out)
        process.join()
        assert process.exitcode == 0
        assert_finished_alike(out, tmp_path / "whole")


def wait_for(process, ready):
    while not ready():
        time.sleep(0.0005)
        assert process.exitcode is None


@pytest.mark.long
def test_kill_while_the_store_is_made_then_asked_to_stop(
    environment, settings, uninterrupted, tmp_path
):
    file, expected = uninterrupted
    out = tmp_path / "out"

    def finished():
        return len(list(out.glob("data.zarr/checksum/c/*/*/0")))

    def again():
        process = command(["study", str(file), "--out", str(out)], settings, tmp_path / "said")
        process.start()
        return process

    process = again()
    wait_for(process, (out / ".data.zarr.new").exists)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    for number, code in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        before = finished()
        process = again()
        wait_for(process, lambda before=before: finished() > before)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join()
        said = (tmp_path / "said").read_text()
        assert process.exitcode == code, said
        last = said.splitlines()[-1]
        assert last.startswith("nsh study: stopped; ")
        assert "of 24 chunks of members are saved; the same command computes" in last
        assert "Traceback" not in said
    said = finish(start(environment, file, out))
    assert "of 24 chunks are there already" in said
    assert_finished_alike(out, expected)
