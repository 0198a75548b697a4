"""The wheel by itself, in an environment without any extra: run by ``make test-wheel``."""

import contextlib
import importlib
import importlib.util
import io
import subprocess
import sys
from importlib import resources
from importlib.metadata import requires, version
from pathlib import Path

import jax

import nsh
from nsh.data import digits
from nsh.neurashed import figure4, figure4_rules

assert "site-packages" in nsh.__file__, nsh.__file__
assert version("neurashed") == nsh.__version__
assert resources.files("nsh").joinpath("py.typed").is_file()

extras = {line.split(";")[0].strip() for line in requires("neurashed") or () if "extra ==" in line}
assert extras, "no extras in the wheel's metadata"
for name in ("matplotlib", "sklearn", "xarray", "zarr", "tyro", "networkx", "diffrax"):
    assert importlib.util.find_spec(name) is None, f"{name} came with the core"

graph, inputs = figure4()
system = nsh.Neurashed(graph)
examples = system.prepare(inputs.x, inputs.y)
problem = nsh.TrainingProblem(system, examples, figure4_rules(graph), steps=100)
run = nsh.ensemble(problem, jax.random.key(0), seeds=16)
assert not run.status.any()

with contextlib.redirect_stdout(io.StringIO()) as printed:
    nsh.citation(system)
assert "2112.09741" in printed.getvalue()

for extra, use in {
    "data": digits,
    "figures": lambda: importlib.import_module("nsh.figures"),
    "graphs": lambda: nsh.neurashed.to_networkx(graph),
    "study": lambda: importlib.import_module("nsh.study"),
}.items():
    said = ""
    try:
        use()
    except ModuleNotFoundError as missing:
        said = str(missing)
    assert f"in the extra neurashed[{extra}]: pip install '.[{extra}]'" in said, said


def command(*arguments: str) -> tuple[int, str]:
    """Exit code of nsh, and what it says."""
    program = [Path(sys.executable).with_name("nsh"), *arguments]
    run = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return run.returncode, run.stdout


assert command("--version") == (0, f"nsh {nsh.__version__}\n")
code, said = command("--help")
assert code == 0
assert said.startswith("usage: nsh COMMAND"), said
for name, missing in {"study": "neurashed[study]", "reproduce": "in nsh's repository"}.items():
    code, said = command(name, "all")
    assert code == 3, said
    assert said.startswith(f"nsh {name}: "), said
    assert missing in said, said
    assert said.count("\n") == 1, said
print(f"the wheel of nsh {nsh.__version__} works by itself")
