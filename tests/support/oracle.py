"""Neurashed in plain Python: loops, dicts and floats, written from the paper, sharing no code."""

import math
import random
from dataclasses import dataclass, field


@dataclass
class OracleGraph:
    """Nodes are (level, index); `dependents` and `fires` are dicts over middle nodes."""

    widths: list[int]
    classes: int
    dependents: dict = field(default_factory=dict)
    fires: dict = field(default_factory=dict)
    class_nodes: dict = field(default_factory=dict)

    def nodes(self):
        return [(level + 1, i) for level, width in enumerate(self.widths) for i in range(width)]

    def edges_to_classes(self):
        return [(f, j) for j in range(self.classes) for f in self.class_nodes[j]]


def random_graph(seed, widths, fan_ins, tables, classes):
    """Same shape for every seed: fan-in of each level's nodes fixed, what they are is random."""
    rng = random.Random(seed)
    graph = OracleGraph(list(widths), classes)
    for level, (width, fan_in) in enumerate(zip(widths[1:], fan_ins, strict=True), start=2):
        for i in range(width):
            chosen = rng.sample(range(widths[level - 2]), fan_in)
            graph.dependents[level, i] = [(level - 1, d) for d in chosen]
            if i < tables:
                graph.fires[level, i] = [rng.random() < 0.5 for _ in range(2**fan_in)]
            else:
                graph.fires[level, i] = rng.randint(1, fan_in)
    for j in range(classes):
        top = len(widths)
        graph.class_nodes[j] = [(top, f) for f in sorted(rng.sample(range(widths[-1]), 2))]
    return graph


def pathway(graph, active):
    """Set of firing nodes, from the set of level-1 indices that the input fires."""
    fired = {(1, i) for i in active}
    for level in range(2, len(graph.widths) + 1):
        for i in range(graph.widths[level - 1]):
            pattern = [d in fired for d in graph.dependents[level, i]]
            rule = graph.fires[level, i]
            if isinstance(rule, list):
                place = sum(2**bit for bit, on in enumerate(pattern) if on)
                fires = rule[place]
            else:
                fires = sum(pattern) >= rule
            if fires:
                fired.add((level, i))
    return fired


def scores(graph, amplification, fired):
    result = {}
    for node in graph.nodes():
        if node not in fired:
            result[node] = 0.0
        elif node[0] == 1:
            result[node] = amplification[node]
        else:
            total = sum(result[d] for d in graph.dependents[node])
            result[node] = amplification[node] * total
    return result


def logits(graph, weights, score):
    return [
        sum(weights[f, j] * score[f] for f in graph.class_nodes[j]) for j in range(graph.classes)
    ]


def softmax(values):
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def step(graph, amplification, weights, batch, reading, rules):
    """One backpropagation on a batch of (pathway, label); `rules` maps names to functions of x."""
    union = set().union(*(fired for fired, _ in batch))
    labels = {label for _, label in batch}
    new_amplification = {
        node: rules["growth" if node in union else "decay"](x, node)
        for node, x in amplification.items()
    }
    new_weights = {}
    for (f, j), x in weights.items():
        if reading == "batch":
            both = f in union and j in labels
        else:
            both = any(f in fired and label == j for fired, label in batch)
        new_weights[f, j] = rules["weight_growth" if both else "weight_decay"](x, (f, j))
    return new_amplification, new_weights
