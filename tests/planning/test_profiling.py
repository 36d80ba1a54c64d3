"""Where time goes, on this machine's CPU and in recorded GPU programs."""

import json

import jax
import jax.numpy as jnp
import pytest
from test_cost import CALLS
from test_plan import toy_experiment

from sgm_jax import modes
from sgm_jax.planning import chips, hlo, profiling
from sgm_jax.training import Watch


def test_kernels_have_the_kind_of_the_heaviest_operation_in_them():
    assert profiling.kinds(hlo.read(CALLS)) == {
        "cudnn_conv_1": "convolution",
        "cudnn_conv_bw_filter_1": "convolution",
        "cudnn_conv_bw_input_1": "convolution",
        "custom_call_1": "product",
    }


def test_time_of_a_traced_program_is_shared_out(tmp_path):
    x, w, k = jnp.ones((1, 64, 64, 8)), jnp.ones((512, 512)), jnp.ones((3, 3, 8, 8))

    def function(x, w, k):
        convolved = jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return convolved, jax.lax.scan(lambda w, _: (w @ w / 512, None), w, None, length=20)[0]

    compiled = jax.jit(function).lower(x, w, k).compile()
    jax.block_until_ready(compiled(x, w, k))
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready(compiled(x, w, k))
    found = {share.kind: share for share in profiling.shares(tmp_path, hlo.read(compiled.as_text()))}
    assert found["convolution"].calls >= 1 and found["product"].calls >= 20
    assert found["product"].seconds == max(share.seconds for share in found.values())


def test_mode_profile_writes_where_a_step_goes(tmp_path, capsys):
    assert modes.profile(toy_experiment(), tmp_path) == 0
    result = json.loads((tmp_path / "profile.json").read_text())
    assert result["examples_per_second"] == pytest.approx(result["batch_size"] / result["step_seconds"])
    assert result["flops_per_second"] * result["step_seconds"] == pytest.approx(result["flops"])
    assert "product" in {share["kind"] for share in result["shares"]}
    assert list((tmp_path / "profile").rglob("*.xplane.pb")) and not (tmp_path / "checkpoints").exists()
    assert "product" in capsys.readouterr().out


def test_empty_trace_is_refused_with_its_likely_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "shares", lambda folder, program: [])
    with pytest.raises(modes.Unsuitable, match="has no operations: where libtpu is installed"):
        modes.profile(toy_experiment(), tmp_path)


def test_known_devices_have_a_peak_in_training(monkeypatch):
    watch = Watch(batch_size=8)
    assert modes.training.watched(watch) == watch  # a CPU's is not known
    chip = chips.Chip("x", (jax.devices()[0].device_kind,), flops=10.0, memory=1.0, bandwidth=1.0, link=1.0, devices=2)
    monkeypatch.setattr(chips, "CHIPS", (chip,))
    known = modes.training.watched(watch)
    compiled = jax.jit(lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=7)[0])
    program = compiled.lower(jnp.ones((16, 16))).compile()
    assert known.peak_flops == 5.0 and known.count_flops(program) == 7 * 2 * 16**3
