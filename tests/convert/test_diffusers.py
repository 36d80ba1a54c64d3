"""Converted UNet2DModel networks against diffusers."""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.convert import diffusers

torch = pytest.importorskip("torch")
reference = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity

DDPM = dict(norm_eps=1e-6, flip_sin_to_cos=False, freq_shift=1, downsample_padding=0, attention_head_dim=None)
ARCHITECTURES = {
    # Published ones, narrower: DDPM on CIFAR-10 and on 256 x 256 (here 64 x 64), ADM as consistency models have it,
    # NCSN++; then the defaults.
    "ddpm_cifar10": DDPM
    | dict(
        sample_size=32,
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    ),
    "ddpm_256": DDPM
    | dict(
        sample_size=64,
        block_out_channels=(32, 32, 64, 64, 96, 96),
        down_block_types=4 * ("DownBlock2D",) + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + 4 * ("UpBlock2D",),
    ),
    "adm": dict(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(32, 64, 128),
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=32,
        attn_norm_num_groups=32,
        num_class_embeds=7,
    ),
    "ncsnpp": dict(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(32, 128, 128),
        down_block_types=("SkipDownBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D"),
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D", "SkipUpBlock2D"),
        time_embedding_type="fourier",
        norm_eps=1e-6,
        norm_num_groups=None,
        attention_head_dim=None,
        mid_block_scale_factor=2**0.5,
    ),
    "defaults": dict(sample_size=16, block_out_channels=(32, 64, 64, 96), layers_per_block=1),
}


def model(name):
    """Return diffusers' network with every weight drawn anew, so that no zero-initialised layer hides an error."""
    network = reference.UNet2DModel(**ARCHITECTURES[name]).eval()
    with torch.no_grad():
        for key, value in network.named_parameters():
            noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(value.shape)
            scale = 0.2 if value.ndim < 2 else np.prod(value.shape[1:]) ** -0.5
            value.copy_(torch.from_numpy((value.ndim == 1) * key.endswith("weight") + scale * noise))
    return network


def tensors(network):
    return {key: value.numpy() for key, value in network.state_dict().items()}


def converted(network, scheduler):
    return diffusers(tensors(network), dict(network.config), json.loads(scheduler.to_json_string()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_output_is_that_of_diffusers(name):
    network = model(name)
    config = dict(network.config)
    pretrained = diffusers(tensors(network), config)
    size = config["sample_size"]
    x = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype(np.float32)
    labels = np.array([3.0, 47.0] if name == "ncsnpp" else [3, 721])
    classes = np.array([2, 6]) if config["num_class_embeds"] else None
    with torch.no_grad():
        expected = network(
            torch.from_numpy(x.transpose(0, 3, 1, 2)),
            torch.from_numpy(labels),
            class_labels=None if classes is None else torch.from_numpy(classes),
        ).sample.numpy()
    ours = jax.jit(pretrained.apply)(jnp.asarray(labels, jnp.float32), jnp.asarray(x), classes)
    assert np.abs(ours - expected.transpose(0, 2, 3, 1)).max() < 1e-4 * expected.std()


def test_score_of_a_step_is_the_noise_estimate_of_that_step():
    network = model("ddpm_cifar10")
    scheduler = reference.DDPMScheduler()
    pretrained = converted(network, scheduler)
    steps = np.array([0, 1, 420, 998, 999])
    alpha_bar = scheduler.alphas_cumprod.double().numpy()[steps]
    x = np.random.default_rng(0).standard_normal((5, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        noise = network(torch.from_numpy(x), torch.from_numpy(steps)).sample.numpy()
    sde = pretrained.sde
    t = sde.t(jnp.asarray(np.sqrt(1 / alpha_bar - 1), jnp.float32))
    assert t.max() <= sde.t_max * (1 + 1e-6)
    score = jax.jit(pretrained.score_fn)(t, jnp.asarray(x.transpose(0, 2, 3, 1)))
    ours = -score.transpose(0, 3, 1, 2) * sde.sigma(t)[:, None, None, None]
    assert np.abs(ours - noise).max() < 1e-4 * noise.std()


def test_every_step_has_its_own_integer_label():
    network = model("ddpm_cifar10")
    scheduler = reference.DDPMScheduler()
    pretrained = converted(network, scheduler)
    alpha_bar = scheduler.alphas_cumprod.double().numpy()
    sde, count = pretrained.sde, len(alpha_bar)
    t = sde.t(jnp.asarray(np.sqrt(1 / alpha_bar - 1), jnp.float32))
    label, _ = pretrained.prediction.inputs(sde, t, jnp.zeros((count, 1)))
    np.testing.assert_array_equal(label, np.arange(count))


@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
def test_prediction_type_is_that_of_the_scheduler(prediction):
    network = model("defaults")
    scheduler = reference.DDIMScheduler(prediction_type=prediction)
    pretrained = converted(network, scheduler)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32))
    with torch.no_grad():
        output = network(x, 500).sample
    expected = reference.DDPMScheduler(prediction_type=prediction, clip_sample=False).step(output, 500, x)
    sde, s = pretrained.sde, float(1 / scheduler.alphas_cumprod[500] - 1) ** 0.5
    denoised = sgm.as_denoiser(sde, jax.jit(pretrained.score_fn))(
        sde.t(jnp.full(1, s)), jnp.asarray(x.numpy().transpose(0, 2, 3, 1))
    )
    expected = expected.pred_original_sample.numpy().transpose(0, 2, 3, 1)
    assert np.abs(denoised - expected).max() < 2e-4 * expected.std()


def test_every_missing_extra_and_misshapen_tensor_is_named():
    network = model("defaults")
    state = tensors(network)
    del state["mid_block.attentions.0.to_q.weight"], state["time_embedding.linear_1.bias"]
    state["conv_out.weight"] = np.zeros((3, 31, 3, 3), np.float32)
    state["surplus.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as error:
        diffusers(state, dict(network.config))
    for name in ("mid_block.attentions.0.to_q.weight", "embedding/dense_0/bias", "conv_out", "surplus.weight"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            dict(down_block_types=["DownBlock2D"] * 3 + ["KDownBlock2D"]),
            "down_block_types must be one of .*AttnDownBlock2D.*got 'KDownBlock2D'",
        ),
        (dict(up_block_types=["UpBlock2D"] * 4), "up_block_types must be .*AttnUpBlock2D.*UpBlock2D"),
        (dict(sample_size=None), "sample_size"),
        (dict(time_embedding_type="learned"), "time_embedding_type must be one of positional, fourier"),
        (dict(act_fn="gelu"), "act_fn must be silu or swish, got gelu"),
        (dict(block_out_channel=[1]), "did you mean 'block_out_channels'"),
    ],
)
def test_flags_that_are_wrong_are_named(flags, message):
    config = dict(reference.UNet2DModel(**ARCHITECTURES["defaults"]).config)
    with pytest.raises(ValueError, match=message):
        diffusers({}, config | flags)
