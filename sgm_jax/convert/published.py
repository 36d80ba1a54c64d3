"""The flags of published checkpoints whose files hold none: what their network and their SDE need, by name.

References:
    Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix H, and the configs of score_sde.
    Song et al., "Consistency Models", 2023, table 3.
"""

from collections.abc import Mapping
from typing import Any

Flags = dict[str, Any]

# ------------------------------------------------------------------------------------------------------- score_sde

DDPM = dict(name="ddpm")
DDPMPP = dict(name="ncsnpp", embedding_type="positional", fir=False)
NCSNPP = dict(name="ncsnpp", embedding_type="positional", fir=True, progressive_input="residual")
FOURIER = NCSNPP | dict(embedding_type="fourier")
SKIP = FOURIER | dict(progressive_input="input_skip", progressive="output_skip")
# Blocks a level, channel multipliers.
SHALLOW, USUAL, DEEP = ((dict(num_res_blocks=count, ch_mult=(1, 2, 2, 2))) for count in (2, 4, 8))
CIFAR10 = dict(image_size=32, num_scales=1000, sigma_max=50, dropout=0.1)
CELEBA = CIFAR10 | dict(image_size=64, sigma_max=90)
LARGE_VP = dict(image_size=256, num_scales=1000, sigma_max=378, num_res_blocks=2, ch_mult=(1, 1, 2, 2, 4, 4))
LARGE_VE = dict(image_size=256, num_scales=2000, num_res_blocks=2, ch_mult=(1, 1, 2, 2, 2, 2, 2))
HUGE_VE = dict(image_size=1024, num_scales=2000, num_res_blocks=1, nf=16, ch_mult=(1, 2, 4, 8, 16, 32, 32, 32))
LARGE_SIGMA = dict(bedroom=378, church=380, celebahq_256=348, ffhq_256=348)


def _score_sde(sde: str, continuous: bool, *parts: Mapping[str, Any]) -> Flags:
    """Return flags by their full names: variance-exploding models have images in [0, 1] and divide by sigma."""
    exploding = sde == "vesde"
    flags = dict(nf=128, attn_resolutions=(16,), dropout=0.0, scale_by_sigma=exploding, sigma_min=0.01)
    flags |= dict(beta_min=0.1, beta_max=20.0)
    for part in parts:
        flags |= part
    data = dict(image_size=flags.pop("image_size"), num_channels=3, centered=not exploding)
    training = dict(sde=sde, continuous=continuous)
    sections = {"model": flags, "data": data, "training": training}
    return {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}


SCORE_SDE = {
    **{
        f"{name}/cifar10_{network}{depth}_continuous": _score_sde(f"{name}sde", True, CIFAR10, flags, blocks)
        for name in ("vp", "subvp")
        for network, flags in (("ddpmpp", DDPMPP), ("ncsnpp", NCSNPP))
        for depth, blocks in (("", USUAL), ("_deep", DEEP))
    },
    "vp/cifar10_ddpmpp": _score_sde("vpsde", False, CIFAR10, DDPMPP, USUAL),
    "vp/cifar10_ncsnpp": _score_sde("vpsde", False, CIFAR10, NCSNPP, USUAL),
    "vp/ddpm/cifar10": _score_sde("vpsde", False, CIFAR10, DDPM, SHALLOW),
    "vp/ddpm/cifar10_unconditional": _score_sde("vpsde", False, CIFAR10, DDPM, SHALLOW, dict(conditional=False)),
    "vp/ddpm/cifar10_continuous": _score_sde("vpsde", True, CIFAR10, DDPM, SHALLOW),
    **{f"vp/ddpm/{data}": _score_sde("vpsde", False, DDPM, LARGE_VP) for data in ("bedroom", "church", "celebahq")},
    "subvp/cifar10_ddpm_continuous": _score_sde("subvpsde", True, CIFAR10, DDPM, SHALLOW),
    "ve/cifar10_ddpm": _score_sde("vesde", False, CIFAR10, DDPM, SHALLOW),
    "ve/cifar10_ncsnpp": _score_sde("vesde", False, CIFAR10, NCSNPP, USUAL),
    "ve/cifar10_ncsnpp_continuous": _score_sde("vesde", True, CIFAR10, FOURIER, USUAL),
    "ve/cifar10_ncsnpp_deep_continuous": _score_sde("vesde", True, CIFAR10, FOURIER, DEEP),
    "ve/celeba_ncsnpp": _score_sde("vesde", False, CELEBA, NCSNPP, USUAL),
    **{
        f"ve/{data}_ncsnpp_continuous": _score_sde("vesde", True, SKIP, LARGE_VE, dict(sigma_max=sigma))
        for data, sigma in LARGE_SIGMA.items()
    },
    **{
        f"ve/{data}_ncsnpp_continuous": _score_sde("vesde", True, SKIP, HUGE_VE, dict(sigma_max=1348))
        for data in ("celebahq", "ffhq")
    },
}

# ------------------------------------------------------------------------------------------------- NCSN and NCSNv2


def _ncsn(image_size: int, sigma_begin: float, num_classes: int, channels: int = 3, ngf: int = 128) -> Flags:
    model = dict(ngf=ngf, sigma_begin=sigma_begin, sigma_end=0.01, num_classes=num_classes, sigma_dist="geometric")
    return {"model": model, "data": dict(image_size=image_size, channels=channels)}


NCSN = {
    "ncsn/mnist": _ncsn(28, 1.0, 10, channels=1, ngf=64),
    "ncsn/celeba": _ncsn(32, 1.0, 10),
    "ncsn/cifar10": _ncsn(32, 1.0, 10),
    "ncsnv2/cifar10": _ncsn(32, 50.0, 232),
    "ncsnv2/celeba": _ncsn(64, 90.0, 500),
    "ncsnv2/church": _ncsn(64, 140.0, 788),
    **{f"ncsnv2/{data}": _ncsn(128, 190.0, 1086) for data in ("bedroom", "tower")},
    "ncsnv2/ffhq": _ncsn(256, 348.0, 2311),
}

# ------------------------------------------------------------------------------------------------------ consistency

ADM = dict(attention_resolutions="32,16,8", num_head_channels=64, resblock_updown=True)
IMAGENET = ADM | dict(image_size=64, num_channels=192, num_res_blocks=3, class_cond=True, use_scale_shift_norm=True)
LSUN = ADM | dict(image_size=256, num_channels=256, num_res_blocks=2, class_cond=False, use_scale_shift_norm=False)
TRAINING = dict(edm="edm", cd="consistency_distillation", ct="consistency_training")
CONSISTENCY = {
    f"consistency/{kind}_{data}": flags | dict(training_mode=mode)
    for kind, mode in TRAINING.items()
    for data, flags in (("imagenet64", IMAGENET), ("bedroom256", LSUN), ("cat256", LSUN))
}

PUBLISHED: dict[str, Flags] = SCORE_SDE | NCSN | CONSISTENCY
