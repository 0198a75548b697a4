"""Scikit-learn's classifiers on the bits that neurashed sees."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from experiments.digit_rules.task import Parts

STRENGTHS = (0.03, 0.1, 0.3, 1.0)
NEIGHBOURS = (1, 3, 5, 9)


def right_answers(parts: Parts) -> dict[str, np.ndarray]:
    """Which test digits each classifier gets right, by name.

    Regularisation and number of neighbours are chosen by accuracy on the validation set; then the
    classifier is fitted to training and validation set together, all that tuning looks at.
    """
    graph, found = parts.found.graph, {}
    one_thread = importlib.import_module("threadpoolctl").threadpool_limits(1)
    with one_thread:  # the work is small; idle threads would cost more than they do
        for level in (1, len(graph.widths)):
            bits = {name: of[:, graph.node_slice(level)] for name, of in parts.fires.items()}
            for name in ("logistic", "kNN"):
                found[f"{name}, level-{level} bits"] = _right(name, bits, parts.labels)
    return found


def _right(
    classifier: str, features: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> np.ndarray:
    x = {name: bits.astype(float) for name, bits in features.items()}

    def fitted(choice: Any, names: tuple[str, ...]) -> Any:
        given = np.concatenate([x[name] for name in names])
        return _make(classifier, choice).fit(given, np.concatenate([labels[n] for n in names]))

    def score(choice: Any) -> float:
        return fitted(choice, ("train",)).score(x["validation"], labels["validation"])

    best = max(STRENGTHS if classifier == "logistic" else NEIGHBOURS, key=score)
    both = fitted(best, ("train", "validation"))
    return both.predict(x["test"]) == labels["test"]


def _make(classifier: str, choice: Any) -> Any:
    if classifier == "logistic":
        linear = importlib.import_module("sklearn.linear_model")
        return linear.LogisticRegression(C=choice, max_iter=2000)
    return importlib.import_module("sklearn.neighbors").KNeighborsClassifier(choice)
