"""Sliced score matching in the plane, over noise levels or of the data alone.

    python launch.py --config=configs/ssm.py                                        over noise levels
    python launch.py --config=configs/ssm.py --config.matching.name=finite_difference
    python launch.py --config=configs/ssm.py:density --workdir=runs/ssm_density     without noise

The forms are `sliced`, `sliced_vr` (reduced variance, the default here), `finite_difference` and `implicit` (the exact
divergence): docs/objectives.md compares them. Without noise the score is known only where there are data, and Langevin
dynamics cannot tell how much of them each part holds: docs/tutorials/scores.py shows both.

References:
    Song, Garg, Shi, Ermon, Sliced Score Matching: A Scalable Approach to Density and Score Estimation, 2019.
    Pang et al., Efficient Learning of Generative Models via Finite-Difference Score Matching, 2020.
"""

from ml_collections import ConfigDict

from configs.toy import get_config as get_toy


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "density", "smoke"):
        raise ValueError(f"the variants of configs/ssm.py are full, density and smoke, got {variant!r}")
    config = get_toy("smoke" if variant == "smoke" else "full")
    config.matching.name = "sliced_vr"
    # The forms that differentiate the score are noisy at faint noise, where it is steep.
    config.sde.t_min = 0.02
    config.times.name = "log_uniform"
    config.times.mean = config.times.std = None
    config.weighting.name = "noise"
    config.weighting.sigma_data = None
    if variant == "density":
        config.objective = "density"
        config.prediction.name = "score"
        config.prediction.sigma_data = None
        config.sde.t_max = 1.0
        config.sampling.process = "reverse_sde"
        config.sampling.solver = "annealed_langevin"
        config.sampling.schedule = "langevin_levels"
        config.sampling.final = "none"
        config.sampling.steps = 10
        config.sampling.snr = 0.1
        config.sampling.corrector_steps = 100
    return config
