"""Recorded references, and our networks with the weights they were recorded with."""

import pathlib
import runpy

from sgm_jax.networks import UNet

DATA = pathlib.Path(__file__).parent / "data"


def load(name):
    """Read a file of `tests/data`: (state_dict of the redrawn weights, the other arrays, the config)."""
    return runpy.run_path(str(DATA / "weights.py"))["load"](DATA / name)


def ddpmpp(state, config, **options):
    """Return the U-Net and its parameters for a score_sde_pytorch DDPM++ of two levels, attention on the second."""
    network = UNet(
        channels=config["model.nf"],
        multipliers=tuple(config["model.ch_mult"]),
        blocks=config["model.num_res_blocks"],
        attention=tuple(config["model.attn_resolutions"]),
        dropout=0.0,
        **options,
    )
    return network, ddpmpp_params(state, levels=2, blocks=1, attention=(1,))


def ddpmpp_params(state, levels, blocks, attention):
    """Rename a score_sde_pytorch DDPM++ state_dict, by the order in which its modules are called."""
    index = iter(range(10_000))

    def take(name):
        return {"weight": state[name + ".weight"], "bias": state[name + ".bias"]}

    def conv(name):
        module = take(name)
        return {"kernel": module["weight"].transpose(2, 3, 1, 0), "bias": module["bias"]}

    def dense(name):
        module = take(name)
        return {"kernel": module["weight"].T, "bias": module["bias"]}

    def norm(name):
        module = take(name)
        return {"scale": module["weight"], "bias": module["bias"]}

    def residual():
        name = f"all_modules.{next(index)}."
        block = {
            "norm_0": norm(name + "GroupNorm_0"),
            "conv_0": conv(name + "Conv_0"),
            "condition": dense(name + "Dense_0"),
            "norm_1": norm(name + "GroupNorm_1"),
            "conv_1": conv(name + "Conv_1"),
        }
        return block | ({"skip": conv(name + "Conv_2")} if name + "Conv_2.weight" in state else {})

    def attend():
        name = f"all_modules.{next(index)}."
        parts = ("query", "key", "value", "out")
        projections = {
            part: {"kernel": state[f"{name}NIN_{i}.W"], "bias": state[f"{name}NIN_{i}.b"]}
            for i, part in enumerate(parts)
        }
        return {"norm": norm(name + "GroupNorm_0")} | projections

    params = {"embedding": {f"dense_{i}": dense(f"all_modules.{next(index)}") for i in range(2)}}
    params["stem"] = conv(f"all_modules.{next(index)}")
    for level in range(levels):
        for i in range(blocks):
            params[f"down_{level}_block_{i}"] = residual()
            if level in attention:
                params[f"down_{level}_attention_{i}"] = attend()
        if level != levels - 1:
            params[f"down_{level}_resample"] = residual()
    params |= {"middle_block_0": residual(), "middle_attention": attend(), "middle_block_1": residual()}
    for level in reversed(range(levels)):
        for i in range(blocks + 1):
            params[f"up_{level}_block_{i}"] = residual()
        if level in attention:
            params[f"up_{level}_attention"] = attend()
        if level:
            params[f"up_{level}_resample"] = residual()
    params["head_norm"] = norm(f"all_modules.{next(index)}")
    params["head"] = conv(f"all_modules.{next(index)}")
    return {"params": params}
