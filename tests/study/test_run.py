"""Running a study: the right numbers, whatever the chunks, crashes, damage and full disks."""

import contextlib
import dataclasses
import errno

import jax
import numpy as np
import optax
import pytest
import xarray as xr
from bad_studies import SIZES
from studies import GRID, assert_same_bytes, files, small_study, swelling, write
from watched import count_blocks, crash_at, crash_everywhere, truncate

from nsh import (
    Geometric,
    Rules,
    SaveAt,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
    hyper_grid,
)
from nsh.data import Classes
from nsh.networks import Classification, Linear, Network
from nsh.study import Study, measurements, open_study, read_study, run_study
from nsh.study import files as files_module
from nsh.study.fingerprint import fingerprint
from nsh.study.progress import silent

STUDY = small_study()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a study that nothing interrupted."""
    directory = tmp_path_factory.mktemp("finished")
    run_study(STUDY, directory)
    return directory


def test_store_holds_what_ensemble_gives(finished):
    def rules(growth):
        return Rules(Geometric(growth), Geometric(0.99))

    data = open_study(finished)
    problem = TrainingProblem(
        STUDY.problem.system,
        STUDY.problem.examples,
        hyper_grid(rules, growth=GRID["growth.factor"]),
        steps=8,
        save=STUDY.problem.save,
        grid_ndim=1,
    )
    run = ensemble(problem, jax.random.key(3), seeds=5)
    assert data["cross_entropy"].dims == ("growth.factor", "seed", "step")
    assert data["log_amplification"].dims == ("growth.factor", "seed", "step", "node")
    for name, recorded in run.saved.items():
        np.testing.assert_array_equal(data[name], recorded)
    np.testing.assert_array_equal(data["status"], run.status)
    np.testing.assert_array_equal(data["step"], [0, 4, 8])
    np.testing.assert_array_equal(data["growth.factor"], GRID["growth.factor"])
    assert data["cross_entropy"].attrs == {"long_name": "cross-entropy", "units": "nats"}
    at = data.sel({"growth.factor": 1.5, "seed": 2, "step": 8})
    assert at["cross_entropy"] == data["cross_entropy"].values[1, 2, 2]


def test_figure_is_written_beside_the_store(finished):
    assert (finished / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (finished / "figure.pdf").read_bytes().startswith(b"%PDF")
    names = {path.name for path in finished.iterdir()}
    assert names == {"data.zarr", "figure.png", "figure.pdf"}


@pytest.mark.usefixtures("no_figure")
def test_names_of_classes_are_coordinates_and_survive_damage(tmp_path):
    x, y = np.array([[0.0], [1.0], [2.0]]), ["dög", "cat", "cat"]
    task = Classification(classes=Classes.of(y))
    network = Network(lambda key: Linear(1, 2, key=key), optax.sgd, task)
    save = SaveAt(measurements(["class_accuracy"], network, x, y), times=(0,))
    hyper = {"optimiser": {"learning_rate": 0.1}}
    problem = TrainingProblem(network, network.prepare(x, y), hyper, steps=0, save=save)
    run_study(Study(problem, seeds=2), tmp_path)
    truncate(next((tmp_path / "data.zarr/class/c").iterdir()))
    found = run_study(Study(problem, seeds=3), tmp_path)
    assert found["class"].values.tolist() == ["cat", "dög"]
    assert found["class_accuracy"].dims == ("seed", "step", "class")
    run = ensemble(problem, jax.random.key(0), seeds=3)
    dogs = found["class_accuracy"].sel({"class": "dög"})
    np.testing.assert_array_equal(dogs, run.saved["class_accuracy"][..., 1])


@pytest.mark.long
@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.usefixtures("no_figure")
def test_numbers_do_not_depend_on_chunks(finished, tmp_path, chunk):
    study = dataclasses.replace(STUDY, chunk=chunk)
    assert_same_bytes(run_study(study, tmp_path), open_study(finished))


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
def test_file_and_python_give_the_same_store(finished, tmp_path):
    study = read_study(write(tmp_path))
    assert fingerprint(study) == fingerprint(STUDY)
    run_study(study, tmp_path / "out")
    assert files(tmp_path / "out") == files(finished)


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
def test_all_blocks_run_one_program(tmp_path):
    def recorded(now):
        traced.append(1)
        return {"factors": now.state.log_amplification}

    traced = []
    study = small_study(save=SaveAt(recorded, every=4))
    assert study.blocks.size == (1, 4)  # 5 seeds: the last block of each point is cut short
    traced.clear()
    run_study(study, tmp_path)
    assert len(study.blocks) == 6
    assert len(traced) <= 3  # one compilation, not one for each block


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
def test_crash_at_every_synchronisation(tmp_path, monkeypatch):
    study = swelling(seeds=5, chunk=3)
    calls = crash_at(monkeypatch, None)
    run_study(study, tmp_path / "whole")
    total = len(calls)
    assert total == 2 + 2 * len(study.blocks) == 6
    crash_everywhere(study, tmp_path, monkeypatch, total, lambda directory: None)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


CHUNK = "cross_entropy/c/1/1/0"


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()])
@pytest.mark.parametrize("name", [CHUNK, "status/c/1/1", "checksum/c/1/1/0"])
def test_damaged_chunk_is_reported_and_recomputed(finished, tmp_path, damage, name):
    run_study(STUDY, tmp_path)
    damage(tmp_path / "data.zarr" / name)
    told, computed = [], []
    count_blocks(STUDY, tmp_path, told, computed)
    assert computed == [1]
    if not (damage.__name__ == "<lambda>" and name.startswith("checksum")):
        assert told[0].startswith("growth.factor 1..1, seed 4..4: damaged in ")
    assert "5 of 6 chunks are there already" in told
    assert files(tmp_path) == files(finished)


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("name", ["cross_entropy/zarr.json", "seed/c/0", "checksum/zarr.json"])
@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()])
def test_damaged_metadata_and_coordinates_are_restored(finished, tmp_path, name, damage):
    run_study(STUDY, tmp_path)
    damage(tmp_path / "data.zarr" / name)
    told, computed = [], []
    count_blocks(STUDY, tmp_path, told, computed)
    assert told[0].endswith(f"{name} was damaged and has been restored")
    assert computed == []
    assert files(tmp_path) == files(finished)


@pytest.mark.long
@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("number", [1, 3, 9])
def test_full_disk_says_what_is_saved(finished, tmp_path, monkeypatch, number):
    true_write, calls = xr.Dataset.to_zarr, []

    def to_zarr(self, *args, **options):
        calls.append(1)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        return true_write(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_zarr", to_zarr)
        with pytest.raises(OSError, match="No space left") as stop:
            run_study(STUDY, tmp_path)
    # two writes for each block: data, checksum
    assert stop.value.__notes__ == [f"{(number - 1) // 2} of 6 chunks of members are saved"]
    run_study(STUDY, tmp_path, report=lambda _: None)
    assert files(tmp_path) == files(finished)


@pytest.mark.long
def test_diverged_seeds_are_flagged_and_harm_no_other(tmp_path):
    data = run_study(swelling(), tmp_path)
    start, end = data["number"].values[:, 0], data["number"].values[:, -1]
    above = start > 1
    assert 0 < above.sum() < 40
    np.testing.assert_array_equal(data["status"], above.astype(np.int32))
    np.testing.assert_array_equal(np.isfinite(end), ~above)
    np.testing.assert_array_equal(end[~above], start[~above])


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("why", ["Windows", "network"])
def test_all_but_locking_works_where_there_are_no_locks(tmp_path, monkeypatch, why):
    if why == "Windows":
        monkeypatch.setattr(files_module, "fcntl", None)
    else:
        monkeypatch.setattr(files_module.fcntl, "flock", failing(errno.ENOLCK))
    told = []
    assert run_study(swelling(seeds=2), tmp_path, report=told.append)["status"].size == 2
    assert told == [f"{tmp_path} cannot be locked here: let no other run work on it"]


def failing(number):
    def function(*arguments):
        raise OSError(number, "it fails")

    return function


def test_two_runs_at_once_are_refused(tmp_path):
    def progress(label, total):
        with pytest.raises(BlockingIOError, match=r"is in use by another run of a study$") as stop:
            run_study(study, tmp_path)
        assert str(stop.value).startswith(f"{tmp_path} ")
        return silent(label, total)

    study = swelling()
    run_study(study, tmp_path, progress=progress)
    run_study(study, tmp_path, report=lambda _: None)


def test_a_grid_of_batch_sizes_goes_on_inside_a_run(tmp_path):
    """Stopped after the first of two stretches."""
    text = SIZES.replace("chunk = 4", "chunk = 30\ncheckpoint_every = 4")
    study = read_study(write(tmp_path, text))
    run_study(study, tmp_path / "whole")
    shown = []

    @contextlib.contextmanager
    def stopping(label, total):
        assert total == 30
        yield stop

    def stop(done):
        shown.append(done)
        if len(shown) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        run_study(study, tmp_path / "out", progress=stopping)
    assert stopped.value.__notes__ == ["0 of 1 chunks of members are saved"]
    assert len(list((tmp_path / "out" / "under_way").glob("*/members-0/*.carried"))) == 1
    run_study(study, tmp_path / "out", progress=stopping)
    assert shown == [
        15,
        15,
        15,
        0,
    ]  # what is there is told first
    assert_same_bytes(open_study(tmp_path / "out"), open_study(tmp_path / "whole"))
    assert not (tmp_path / "out" / "under_way").exists()
    data = open_study(tmp_path / "out")
    assert data["cross_entropy"].dims == ("batches.size", "growth.factor", "seed", "step")
    for size in (1, 4):
        sampler = VariableSize(WithReplacement(4), size)
        rules = Rules(Geometric(1.05), Geometric(0.99))
        alone = dataclasses.replace(study.problem, sampler=sampler, hyper=rules)
        run = ensemble(alone, jax.random.key(3), seeds=5)
        found = data["cross_entropy"].sel({"batches.size": size, "growth.factor": 1.05})
        np.testing.assert_allclose(found, run.saved["cross_entropy"], rtol=1e-5)
