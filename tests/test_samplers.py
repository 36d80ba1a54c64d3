import pytest

import sgm_jax as sgm
from configs.default import get_config
from sgm_jax import sampling
from sgm_jax.components import PROCESSES, SCHEDULE_FUNCTIONS
from sgm_jax.samplers import SOLVERS, make_solver

LEVELS = sgm.karras(sgm.VP(), 24)
STOCHASTIC = {
    "annealed_langevin",
    "ancestral",
    "churn",
    "consistency",
    "gotta_go_fast",
    "sa_solver",
    "sde_dpm_solver_pp",
    "shark",
    "sra1",
}


def section(**options):
    config = get_config().sampling
    config.update(options)
    return config


@pytest.mark.parametrize("name", SOLVERS)
def test_every_name_makes_a_solver_that_fits_its_process(name):
    sde = sgm.VP()
    solver = make_solver(section(solver=name), sde, LEVELS)
    stochastic = name in STOCHASTIC or name.startswith(("score_sde", "predictor"))
    process = PROCESSES["reverse_sde" if stochastic else "probability_flow"](sde, lambda t, x: -x)
    assert sampling.fit_solver(process, solver) == solver


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(solver="dpm_solver_pp", order=3), sampling.DPMSolverPP(3)),
        (dict(solver="ancestral", variance="large"), sampling.Ancestral("large")),
        (dict(solver="churn", s_churn=10.0, steps=17), sampling.Churn(18, 10.0)),
        (
            dict(solver="tabulated", order=3),
            sampling.TabulatedMultistep(sampling.adams_bashforth(LEVELS, order=3, memory=24)),
        ),
        (dict(solver="predictor_corrector", snr=0.2), sgm.PredictorCorrector(corrector=sgm.Langevin(0.2, 1))),
        (
            dict(solver="soft_adams", data_scale=0.5),
            sampling.ExponentialAdams(4, sampling.VelocityForm(0.5), variable=sampling.SoftLog(0.1), correction=1.0),
        ),
    ],
)
def test_options_reach_the_solver(options, expected):
    assert make_solver(section(**options), sgm.VP(), LEVELS) == expected


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(solver="heun", order=3), "'order'"),
        (dict(solver="dpm_solver_pp", order=7), "got 7"),
        (dict(solver="ancestral", variance="tiny"), "'tiny'"),
        (dict(solver="churn", steps=None), "set sampling.steps"),
        (dict(solver="tabulated", steps=None), "set sampling.steps"),
        (dict(solver="unipcc"), "did you mean 'unipc'"),
    ],
)
def test_unfit_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        make_solver(section(**options), sgm.VP(), None if options.get("steps", 24) is None else LEVELS)


def test_the_docs_list_every_solver_and_schedule():
    import pathlib

    page = (pathlib.Path(__file__).parents[1] / "docs" / "sampling.md").read_text()
    missing = [name for name in (*SOLVERS, *SCHEDULE_FUNCTIONS, "fitted") if f"`{name}`" not in page]
    assert not missing
