"""What each panel of each experiment's figure shows, by its letter."""

from __future__ import annotations

from collections.abc import Mapping

CAPTIONS: Mapping[str, Mapping[str, str]] = {
    "information_bottleneck": {
        "a": "Neurashed's graph; the area of a node is its final amplification.",
        "b": "Information of level 2 about input and label through training.",
        "c": "Neurashed's information plane, one curve for each level.",
        "d": "Information of the last hidden layer about the input, networks on the digits.",
        "e": "Information plane of networks with tanh.",
        "f": "Information plane of networks with ReLU.",
    },
    "implicit_regularization": {
        "a": "Neurashed: features of the top level that survive, and their effective number.",
        "b": "Networks on the digits: test accuracy.",
        "c": "Neurashed: which factors grow, for batch sizes and rates.",
        "d": "Networks: neural collapse NC1 of the last hidden layer.",
        "e": "Networks: effective number of features.",
        "f": "Networks: share of units that survive.",
    },
    "local_elasticity": {
        "a": "Neurashed: density of local elasticity for each kind of pair.",
        "b": "Neurashed: mean local elasticity through training.",
        "c": "Networks on the digits: elasticity within classes over that across.",
        "d": "MLP: density of local elasticity.",
        "e": "CNN: density of local elasticity.",
        "f": "Linear classifier: density of local elasticity.",
    },
    "criticality": {
        "a": "Row: the kernel K over layers, a column for each activation.",
        "b": "Row: the tangent kernel.",
        "c": "Row: the squared distance of two nearby inputs.",
        "d": "Row: the standard deviation of K over networks, over K.",
    },
    "finite_width": {
        "a": "Each tensor as measured, over what theory says. Open symbols: at the two widths. "
        "Full ones, with their standard errors: extrapolated. No ratio is shown where theory says "
        "0 or the standard error is above 20%; this is written in its place.",
        "b": "Measured minus theoretical values, in standard errors, of all tensors. There is "
        "a row of panels for each depth.",
    },
    "aspect_ratio": {
        "a": "Variance of outputs at the start over depth / width, with theory's.",
        "b": "Variance of the tangent kernel, with theory's.",
        "c": "Test error after training; dotted lines: the aspect ratio that theory finds best.",
        "d": "Share of decisions in which two trained networks differ.",
    },
    "kernel_regime": {
        "a": "One output through training: networks, and the mean predicted by the kernel.",
        "b": "Network minus its linearisation, for each width.",
        "c": "How differences from infinite width fall with the width; the slopes are given.",
        "d": "Spread of outputs over seeds, over the predicted variance.",
        "e": "Error on test digits, with the predicted one.",
        "f": "Accuracy on test digits after training, over the width.",
    },
    "lazy_to_mean_field": {
        "a": "How far parameters move, over the width, in all regimes.",
        "b": "How far the tangent kernel moves.",
        "c": "Distance of outputs from those of the linearised network.",
        "d": "Distance of outputs from the lazy limit.",
        "e": "Distance of outputs from the mean-field limit.",
        "f": "All of these at one width, over the dial α.",
    },
    "noisy_descent": {
        "a": "What is learned: examples, particles and the Gibbs law.",
        "b": "The Gibbs law of both weights of a unit, and particles.",
        "c": "Its density over the input weight.",
        "d": "Moments: difference from the Gibbs law, over the learning rate.",
        "e": "Free energy through training: particles, Fokker–Planck equation, least value.",
        "f": "Free energy and losses between two laws: mixtures and moved particles.",
    },
    "repopulation": {
        "a": "Variance of outputs when units are drawn, over their number.",
        "b": "Error of networks of drawn units, over their number.",
        "c": "Error through training of random features, for each way to draw them.",
        "d": "Error through training of both layers.",
        "e": "Variance of samples through training.",
        "f": "Generalisation gap over training samples, with its bounds.",
    },
    "feature_learning": {
        "a": "Test error of the student over the dial α.",
        "b": "Test error on the digits over the dial.",
        "c": "Elasticity within classes over that across, at the start and the end of training.",
        "d": "Change of the hidden layer's information about the input through training.",
        "e": "Change of its information about input and label, over the dial.",
        "f": "Each change over that at α = 1: what vanishes in the lazy regime.",
    },
    "correspondence": {
        "a": "Firing in graph and network, level 2 (phi coefficient), for each choice of nodes.",
        "b": "Rank correlation of amplification and strength.",
        "c": "Rank correlation of both local elasticities.",
        "d": "Rank correlation with the norm of outgoing weights through training.",
        "e": "Information of level 2 about the input through training.",
        "f": "Effective number of features over batch sizes.",
    },
    "digit_rules": {
        "a": "Least validation loss so far over the cost, for each way to choose rates.",
        "b": "The same closely, for rates of each level.",
        "c": "The rates found, for each level.",
        "d": "Accuracy on held-out digits, with that of common classifiers.",
    },
    "elasticity_fit": {
        "a": "Elasticity of the networks between all classes of updated input and probe.",
        "b": "The same of the fitted neurashed.",
        "c": "Distance of both through the fits.",
        "d": "Rank correlation of each predictor with the network, over all pairs.",
        "e": "The same, over pairs within a class and across classes.",
        "f": "The same, with class and pixels given.",
    },
    "lottery_ticket": {
        "a": "Neurashed: share of nodes that survive, over batch sizes.",
        "b": "Neurashed: test accuracy of parts of the graph, the survivors of training.",
        "c": "Neurashed: test accuracy of parts of the graph, the largest half.",
        "d": "Neurashed: test loss of the survivors.",
        "e": "Pruned networks: test accuracy over the share of weights kept.",
        "f": "Pruned networks: test loss.",
    },
    "effective_sample_size": {
        "a": "Effective sample size over a class's own samples, with its law.",
        "b": "Effective sample size over the degree of sharing, with its law.",
        "c": "Growth of the rare class's log logit through training.",
        "d": "Recall of the rare class early in training.",
        "e": "Digits: recall lost when a class is thinned.",
        "f": "Digits: rank correlation of predictors with the recall lost.",
    },
    "data_augmentation": {
        "a": "Model: growth of nodes of one part and of both, over the share of crops.",
        "b": "Model: correlation of the growth of both parts, with the exact law.",
        "c": "Model: share of the logit that parts carry, through training.",
        "d": "Model: accuracy on whole images and on parts.",
        "e": "Digits: accuracy on halves.",
        "f": "Digits: accuracy on whole images.",
        "g": "Digits: how far units depend on one half.",
        "h": "Digits: elasticity between halves.",
    },
    "extensions": {
        "a": "Implicit regularization: effective features of level 2 in each extension.",
        "b": "Local elasticity: within classes minus across, over their sum.",
        "c": "Information about the input through training.",
        "d": "Information about the label through training.",
        "e": "Information about the input at its peak and at the end.",
        "f": "Size of all effects over that in plain neurashed.",
    },
    "scaling_law": {
        letter: f"{what}, over {over}."
        for letter, (what, over) in zip(
            "abcdefghijkl",
            [
                (what, over)
                for what in (
                    "Information of the top level",
                    "Log of elasticity within classes over that across",
                    "Share of features",
                )
                for over in ("the graph's size", "its depth", "the share of shared nodes",
                             "the batch size")
            ],
            strict=True,
        )
    },
}  # fmt: skip
"""By experiment and letter; every panel that has a letter has a caption."""
