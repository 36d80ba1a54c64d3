"""An exported sampler runs where there is JAX alone, and draws what the library draws."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.convert import Pretrained, export_sampler
from sgm_jax.networks import MLP

SCRIPT = """
import sys, jax, jax.export, numpy as np
sampler = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
np.save(sys.argv[2], sampler.call(jax.random.key(7)))
print([name for name in ("sgm_jax", "flax", "diffrax", "equinox") if name in sys.modules])
"""


@pytest.mark.slow
def test_exported_sampler_needs_jax_alone(tmp_path):
    network = MLP(width=8, layers=1, init_scale=1.0)
    params = network.init(jax.random.key(0), jnp.ones(1), jnp.zeros((1, 2)))["params"]
    pretrained = Pretrained(network, params, sgm.VP(), sgm.score.Noise(), {}, (2,))
    (tmp_path / "sampler").write_bytes(export_sampler(pretrained, 5, steps=4))
    arguments = [sys.executable, "-c", SCRIPT, tmp_path / "sampler", tmp_path / "samples.npy"]
    result = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
    process = sgm.ProbabilityFlow(pretrained.sde, pretrained.score_fn)
    expected = sgm.sample(jax.random.key(7), process, (5, 2), steps=4).x
    np.testing.assert_allclose(np.load(tmp_path / "samples.npy"), expected, rtol=1e-5, atol=1e-5)


def test_adaptive_steps_are_refused():
    pretrained = Pretrained(MLP(width=8), {}, sgm.VP(), sgm.score.Noise(), {}, (2,))
    with pytest.raises(ValueError, match="must give steps or a schedule.*'rtol': 0.1"):
        export_sampler(pretrained, 5, rtol=0.1, atol=0.1)
