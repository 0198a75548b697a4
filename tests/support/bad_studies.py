"""Study files with one thing wrong, and what the error must say."""
# ruff: noqa: E501

from studies import FILE

MLP = """\
seeds = 2
steps = 4
[system]
name = "mlp"
hidden = [4]
optimiser = "adam"
[hyper.optimiser]
learning_rate = 0.1
[batches]
name = "epochs"
size = 16
[record]
times = [4]
examples = 20
what = ["cross_entropy", "test_accuracy"]
[tune]
objective = "cross_entropy"
parameters = ["optimiser.learning_rate"]
learning_rate = 0.1
iterations = 2
"""

SIZES = FILE.replace(
    "[grid]",
    """[batches]
name = "variable_size"
size = 1
sampler = { name = "with_replacement", size = 4 }
[grid]
batches.size = [1, 4]""",
).replace("\n\n[batches]", "\n[batches]")

# file, a line in it, what stands there instead, and what the error must say
# fmt: off
BAD = [
    (FILE, "seeds = 5", "seeds = 0", ["line 1: seeds = 0", "an integer in 1..2147483647"]),
    (FILE, "seeds = 5", "seeds = 2.5", ["line 1: seeds = 2.5", "an integer"]),
    (FILE, "seeds = 5", "seeds = true", ["line 1: seeds = True", "an integer"]),
    (FILE, "seeds = 5", "seed = 5", ["line 1: seed: unknown key", "did you mean seeds?"]),
    (FILE, "seeds = 5", "", ["seeds: missing"]),
    (FILE, "seeds = 5", "seeds = = 5", ["line 1, column 9: not TOML"]),
    (FILE, "steps = 8", "steps = -1", ["line 2: steps = -1", "an integer in 0..2147483647"]),
    (FILE, "chunk = 4", "chunk = 0", ["line 3: chunk = 0", ">= 1"]),
    (FILE, "chunk = 4", "chunk = 4\ncheckpoint_every = 0", ["line 4: checkpoint_every = 0", ">= 1"]),
    (FILE, "chunk = 4", 'checkpoint_every = 4\nmethod = "closed_form"', ["line 4: method = ClosedForm()", "Sequential()"]),
    (MLP, "steps = 4", "steps = 4\ncheckpoint_every = 2", ["line 3: checkpoint_every = 2", "tuned", "a smaller chunk"]),
    (SIZES, "size = 1", "size = 1.5", ["line 15: batches.size = 1.5", "an integer"]),
    (SIZES, "size = 1", "size = 5", ["line 15: size = 5", "in 1..4"]),
    (SIZES, "batches.size = [1, 4]", "batches.size = [1, 8]", ["size = 8", "in 1..4"]),
    (SIZES, "batches.size = [1, 4]", "batches.size = [1.0]", ["line 18: grid.batches.size = [1.0]", "whole"]),
    (SIZES, "batches.size = [1, 4]", "batches.siez = [1]", ["line 18: grid.batches.siez: unknown key", "did you mean batches.size?"]),
    (FILE, "key = 3", "key = -3", ["line 4: key = -3", "0.."]),
    (FILE, "key = 3", f"key = {2**70}", ["line 4: key = ", "0.."]),
    (FILE, "key = 3", "key = 3\n[extra]", ["line 5: extra: unknown key"]),
    (FILE, 'name = "neurashed"', "", ["line 6: system: needs a name, one of neurashed, network, mlp"]),
    (FILE, 'name = "neurashed"', 'name = "neurasheds"', ["line 6: system = ", "did you mean neurashed?", '"module:function"']),
    (FILE, 'name = "neurashed"', 'name = "nowhere:f"', ["line 6: system = 'nowhere:f'", "imported", "nowhere"]),
    (FILE, 'name = "neurashed"', 'name = "./mine.py:f"', ["line 6: system = './mine.py:f'", "no name of a module"]),
    (FILE, 'name = "neurashed"', 'name = "studies:absent"', ["line 6", "absent"]),
    (FILE, 'graph = "figure4"', 'graph = "figur4"', ["line 8: system.graph = 'figur4'", "did you mean figure4?"]),
    (FILE, 'graph = "figure4"', 'grpah = "figure4"', ["line 8: system.grpah: unknown key", "did you mean graph?"]),
    (FILE, 'graph = "figure4"', 'graph = { name = "random_hierarchy", classes = 0 }', ["line 8: system.graph.classes = 0"]),
    (FILE, 'graph = "figure4"', 'graph = "figure4"\nedge_firing = "bach"', ["line 9", "'batch', 'sample'", "did you mean batch?"]),
    (FILE, 'growth = { name = "geometric", factor = 1.06 }', "", ["line 10: hyper.growth: missing"]),
    (FILE, 'growth = { name = "geometric", factor = 1.06 }', 'growth = { name = "geometric" }', ["line 11: hyper.growth.factor: missing"]),
    (FILE, "factor = 1.06 }", "factor = 0.9 }", ["line 11: hyper.growth.factor = ", "> 1.0"]),
    (FILE, "factor = 1.06 }", 'factor = "big" }', ["line 11: hyper.growth.factor = 'big'", "a number or a list"]),
    (FILE, "factor = 0.99 }", "factor = [0.8, 0.9] }", ["line 12: decay.factor.shape = (2,)"]),
    (FILE, "growth.factor = [1.05, 1.5, 2.0]", "growth.facto = [1.05]", ["line 15: grid.growth.facto: unknown key", "did you mean growth.factor?"]),
    (FILE, "growth.factor = [1.05, 1.5, 2.0]", "growth.factor = []", ["line 15: grid.growth.factor = []"]),
    (FILE, "growth.factor = [1.05, 1.5, 2.0]", "growth.factor = [1.5, 1.5]", ["line 15: grid.growth.factor", "different"]),
    (FILE, "growth.factor = [1.05, 1.5, 2.0]", "growth.factor = [1.5, 0.5]", ["line 15: growth.factor[1] = 0.5", "> 1.0"]),
    (FILE, "growth.factor = [1.05, 1.5, 2.0]", "growth.factor = [1.5, nan]", ["line 15: grid.growth.factor", "finite"]),
    (FILE, "every = 4", "every = 0", ["line 18: record.every = 0", ">= 1"]),
    (FILE, "every = 4", "evry = 4", ["line 18: record.evry", "did you mean every?"]),
    (FILE, "every = 4", "", ["line 17: record.every = None", "`times` in its place"]),
    (FILE, "every = 4", "times = [4, 2]", ["line 18: record.times = 2", ">= 5"]),
    (FILE, "every = 4", "times = [4, 9]", ["line 18: record.times = 9", "0..8"]),
    (FILE, "every = 4", "every = 4\ntimes = [4]", ["record.every = 4"]),
    (FILE, '"log_amplification"]', '"log_amplificaton"]', ["line 19: record.what.1", "did you mean log_amplification?"]),
    (FILE, '"log_amplification"]', '"test_accuracy"]', ["record.what", "without test data"]),
    (FILE, '"log_amplification"]', '"cross_entropy"]', ["line 19: record.what", "once"]),
    (FILE, '"log_amplification"]', '{ name = "information", sample = 4 }]', ["line 19: record.what.1.sample: unknown key", "did you mean samples?"]),
    (FILE, '"log_amplification"]', '{ name = "calibration_error", bins = 0 }]', ["line 19: record.what.1.bins = 0"]),
    (FILE, '"log_amplification"]', '{ name = "surviving_fraction", threshold = "x" }]', ["line 19: record.what.1.threshold = 'x'", "a number"]),
    (FILE, '"log_amplification"]', '{ name = "information", samples = 1 }]', ["line 19: record.what.1.samples = 1"]),
    (FILE, "[record]", "[batches]\nsize = 2\n[record]", ["line 17: batches: needs a name, one of epochs, fixed_batches, full_batch, random_subset, subset, variable_size, with_replacement"]),
    (FILE, "[record]", '[batches]\nname = "epochs"\nsize = 9\n[record]', ["line 19: size = 9", "at most 8"]),
    (FILE, "[record]", 'method = "sequntial"\n[record]', ["method"]),
    (MLP, "hidden = [4]", "hidden = 4", ["line 5: system.hidden = 4", "a list"]),
    (MLP, "hidden = [4]", "hidden = [4, 0]", ["line 5: system.hidden[1] = 0"]),
    (MLP, 'optimiser = "adam"', 'optimiser = "adm"', ["line 6: system.optimiser = 'adm'", "did you mean adam?"]),
    (MLP, "learning_rate = 0.1\n[b", "learning_rat = 0.1\n[b", ["line 8: hyper.optimiser.learning_rat: unknown key", "did you mean learning_rate?"]),
    (MLP, "learning_rate = 0.1\n[b", "learning_rate = 'x'\n[b", ["line 8: hyper.optimiser.learning_rate = 'x'", "a number"]),
    (MLP, "learning_rate = 0.1\n[b", "learning_rate = inf\n[b", ["line 8: hyper", "finite"]),
    (MLP, 'what = ["cross_entropy"', 'what = ["log_amplification"', ["line 15: record.what", "of a Neurashed"]),
    (MLP, 'objective = "cross_entropy"', 'objective = "accuracy"', ["line 17: tune.objective = 'accuracy'", "cross_entropy", "did you mean test_accuracy?"]),
    (MLP, 'parameters = ["optimiser.learning_rate"]', 'parameters = ["optimiser.learnin_rate"]', ["line 18: tune.parameters = 'optimiser.learnin_rate'", "did you mean optimiser.learning_rate?"]),
    (MLP, "iterations = 2", "iterations = 0", ["line 20: tune.iterations = 0"]),
    (MLP, "iterations = 2", "iterations = 2\nbounds.\"optimiser.learning_rate\" = [1, 0]", ["line 21: tune.bounds.optimiser.learning_rate", "[low, high]"]),
]
# fmt: on
