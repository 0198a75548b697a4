"""The README's picture: ``python -m experiments.moving_picture docs/pictures/neurashed.gif``.

One run of Figure 4's graph, and the information in its second level: the run of seed 0 in
`information_bottleneck`, with the pathway of the first input.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.animation import FuncAnimation, PillowWriter

from experiments.information_bottleneck import LevelInformation, Record
from nsh import Neurashed, SaveAt, TrainingProblem, train
from nsh.figures import animate_graph
from nsh.measure import Noise
from nsh.neurashed import feature_pathway, figure4, figure4_rules


def moving_picture(steps: int = 2000, frames: int = 50) -> FuncAnimation:
    """The run, shown `frames` times; by default 40 steps of training lie between."""
    graph, inputs = figure4()
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)
    run_key, noise_key = jax.random.split(jax.random.key(0))
    levels = LevelInformation(
        examples, jnp.asarray(inputs.y), noise_key, Noise(1e-4, 0.05), graph.classes, samples=256
    )
    problem = TrainingProblem(
        system,
        examples,
        figure4_rules(graph),
        steps=steps,
        save=SaveAt(Record(levels), every=steps // frames),
    )
    run = train(problem, jax.random.fold_in(run_key, 0))
    bits, log_amplification = run.saved
    fired = np.append(feature_pathway(graph, jnp.asarray(inputs.x[0])), inputs.y[0] == np.arange(2))
    return animate_graph(
        graph, run.times, log_amplification, fired=fired,
        curves={"I(level 2; input)": bits.input[:, 1], "I(level 2; label)": bits.label[:, 1]},
        ylabel="information (bits)",
    )  # fmt: skip


def write(file: Path, /) -> None:
    """Write the picture into a GIF."""
    file.parent.mkdir(parents=True, exist_ok=True)
    moving_picture().save(file, writer=PillowWriter(fps=8), dpi=110)


if __name__ == "__main__":
    tyro.cli(write)
