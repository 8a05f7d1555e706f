"""What Optuna's samplers come to on four functions: the median of the best of 60 trials over 20 seeds.

    uv venv /tmp/optuna && uv pip install --python /tmp/optuna/bin/python optuna
    /tmp/optuna/bin/python bench/sweep/compare.py > bench/sweep/optuna.json

The unit test `sweep::tpe::tests` of `rondo-pipeline` lets Rondo's own strategies search the same functions
with the same budget and holds them against these numbers.
"""

import json
import math
import statistics
import sys
import warnings

import optuna

TRIALS, SEEDS = 60, 20


def sphere(trial):
    return sum((trial.suggest_float(f"x{i}", -5, 5) - 1) ** 2 for i in range(4))


def branin(trial):
    a, b = trial.suggest_float("a", -5, 10), trial.suggest_float("b", 0, 15)
    bowl = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return bowl * bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


def rosenbrock(trial):
    x = [trial.suggest_float(f"x{i}", -2, 2) for i in range(3)]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))


def mixed(trial):
    rate = trial.suggest_float("rate", 1e-5, 1, log=True)
    depth = trial.suggest_int("depth", 1, 16)
    kind = trial.suggest_categorical("kind", ["a", "b", "c", "d"])
    share = trial.suggest_float("share", 0, 1, step=0.05)
    kinds = {"a": 0.6, "b": 0.0, "c": 0.9, "d": 0.3}
    return (math.log10(rate) + 2) ** 2 + ((depth - 7) / 5) ** 2 + kinds[kind] + (share - 0.35) ** 2 * 2


SAMPLERS = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "univariate": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def best(objective, sampler, seed):
    study = optuna.create_study(sampler=SAMPLERS[sampler](seed))
    study.optimize(objective, n_trials=TRIALS)
    return study.best_value


optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore")
found = {"optuna": optuna.__version__, "trials": TRIALS, "seeds": SEEDS}
for objective in (sphere, branin, rosenbrock, mixed):
    found[objective.__name__] = {
        sampler: round(statistics.median(best(objective, sampler, seed) for seed in range(SEEDS)), 5)
        for sampler in SAMPLERS
    }
json.dump(found, sys.stdout, indent=2)
print()
