"""The papers' claims and figures, one module or package each, all of one shape.

Every experiment defines

- ``Config``: a frozen dataclass of everything that can be chosen, with defaults for a laptop;
- ``FULL``: the `Config` at paper-quality sizes;
- ``run(config, progress) -> xarray.Dataset``: the measurement, which tells `progress`
  (`experiments.harness.progress`) how far it is;
- ``figure(dataset) -> matplotlib.figure.Figure``;
- ``claims(dataset) -> list[experiments.harness.claim.Claim]``;
- ``explore(dataset) -> plotly.graph_objects.Figure``, if there is something to be moved about.

``nsh reproduce`` runs them (`experiments.harness.command_line`).
"""

EXPERIMENTS = (
    "experiments.information_bottleneck",
    "experiments.implicit_regularization",
    "experiments.local_elasticity",
    "experiments.criticality",
    "experiments.finite_width",
    "experiments.aspect_ratio",
    "experiments.kernel_regime",
    "experiments.lazy_to_mean_field",
    "experiments.noisy_descent",
    "experiments.repopulation",
    "experiments.feature_learning",
    "experiments.correspondence",
    "experiments.digit_rules",
    "experiments.elasticity_fit",
    "experiments.lottery_ticket",
    "experiments.effective_sample_size",
    "experiments.data_augmentation",
    "experiments.extensions",
    "experiments.scaling_law",
)
"""Module names, in the order in which they are run and listed; imported only when needed."""
