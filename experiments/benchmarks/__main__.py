"""``python -m experiments.benchmarks``: nsh against its peers and itself, side by side."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from experiments.benchmarks import (
    batch_norm,
    ensembles,
    example_weights,
    final_states,
    kernels,
    layers,
    learning_rate,
    networks,
    regression,
    rule_gradients,
    saving,
    streaming,
    trajectories,
)
from experiments.benchmarks.case import Case
from experiments.benchmarks.harness import measure
from experiments.benchmarks.report import entry, figure, print_case, print_targets
from experiments.harness.results import ROOT, git_commit
from nsh._files import atomic
from nsh._fingerprint.surroundings import versions
from nsh.study.files import save_figure
from nsh.study.progress import shown_on


@dataclasses.dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    peers: Path | None = None
    """Interpreter with what requirements.txt of this directory names; without it no peers run."""
    kernel_peers: Path | None = None
    """Interpreter with what requirements-kernels.txt names: neural-tangents, on an old JAX."""
    only: tuple[str, ...] = ()
    """Cases whose names begin with one of these; default all."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Tiny sizes, to see that everything works."""
    rounds: int = 5
    """Timings of each contender, interleaved."""
    results: Path = Path("results")
    """Directory that gets benchmarks/benchmarks.json and benchmarks/figure.png, .pdf."""
    large: ensembles.Large = dataclasses.field(default_factory=ensembles.Large)
    figure4: ensembles.Small = dataclasses.field(default_factory=ensembles.Small)
    final: final_states.FinalStates = dataclasses.field(default_factory=final_states.FinalStates)
    trajectory: trajectories.Trajectories = dataclasses.field(
        default_factory=trajectories.Trajectories
    )
    few: rule_gradients.Few = dataclasses.field(default_factory=rule_gradients.Few)
    many: rule_gradients.Many = dataclasses.field(default_factory=rule_gradients.Many)
    learning_rate: learning_rate.LearningRate = dataclasses.field(
        default_factory=learning_rate.LearningRate
    )
    networks: networks.Networks = dataclasses.field(default_factory=networks.Networks)
    batch_norm: batch_norm.BatchNorm = dataclasses.field(default_factory=batch_norm.BatchNorm)
    example_weights: example_weights.ExampleWeights = dataclasses.field(
        default_factory=example_weights.ExampleWeights
    )
    streaming: streaming.Streaming = dataclasses.field(default_factory=streaming.Streaming)
    saving: saving.Saving = dataclasses.field(default_factory=saving.Saving)
    infinite: kernels.Infinite = dataclasses.field(default_factory=kernels.Infinite)
    finite: kernels.Finite = dataclasses.field(default_factory=kernels.Finite)
    layers: layers.Layers = dataclasses.field(default_factory=layers.Layers)
    regression: regression.Regression = dataclasses.field(default_factory=regression.Regression)


LOG_WIDTH = 140
QUICK = Config(
    None, None, (), False, 2, Path("results"), *ensembles.QUICK, final_states.QUICK,
    trajectories.QUICK, *rule_gradients.QUICK, learning_rate.QUICK, networks.QUICK,
    batch_norm.QUICK, example_weights.QUICK, streaming.QUICK, saving.QUICK, *kernels.QUICK,
    layers.QUICK, regression.QUICK,
)  # fmt: skip


def cases(config: Config) -> list[Case]:
    """All that are asked for; raises `SystemExit` where a name fits none."""
    found = [
        *ensembles.cases(config.large, config.figure4),
        *final_states.cases(config.final),
        *trajectories.cases(config.trajectory),
        *rule_gradients.cases(config.few, config.many),
        *learning_rate.cases(config.learning_rate),
        *networks.cases(config.networks),
        *batch_norm.cases(config.batch_norm),
        *example_weights.cases(config.example_weights),
        *streaming.cases(config.streaming),
        *saving.cases(config.saving),
        *kernels.cases(config.infinite, config.finite),
        *layers.cases(config.layers),
        *regression.cases(config.regression),
    ]
    for name in config.only:
        if not any(case.name.startswith(name) for case in found):
            raise SystemExit(f"--only {name}: no such case; there are {[c.name for c in found]}")
    return [case for case in found if not config.only or case.name.startswith(config.only)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases; 1 if contenders that ran disagree about a result."""
    arguments = sys.argv[1:] if arguments is None else arguments
    default = QUICK if "--quick" in arguments else Config()
    config = tyro.cli(
        Config, args=arguments, default=default, prog="python -m experiments.benchmarks",
        description=__doc__, use_underscores=True,
    )  # fmt: skip
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=LOG_WIDTH)
    given = {"peers": config.peers, "kernel_peers": config.kernel_peers}
    peers = {name: str(path.absolute()) for name, path in given.items() if path is not None}
    entries = []
    with shown_on(sys.stderr) as progress:
        for case in cases(config):
            entries.append(entry(case, measure(case, peers, config.rounds, progress)))
            print_case(console, entries[-1])
    print_targets(console, entries)
    devices = sorted({
        one["device"] for found in entries for one in found["contenders"].values()
        if "device" in one
    })  # fmt: skip
    for device in devices:
        console.print(device)
    directory = config.results / "benchmarks"
    whole = {
        "devices": devices,
        "versions": versions(),
        "git_commit": git_commit(ROOT),
        "configuration": dataclasses.asdict(config),
        "cases": entries,
    }
    with atomic(directory / "benchmarks.json") as temporary:
        temporary.write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")
    save_figure(figure(entries), directory)
    return int(not all(found["agree"] for found in entries))


if __name__ == "__main__":
    sys.exit(main())
