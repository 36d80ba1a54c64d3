"""Speed of the networks beside PyTorch: `python -m benchmarks.networks [--rounds N]`, with the parity extra.

The NCSN++ of score_sde at half its width (64 channels, multipliers 1, 2, 2, 2, two blocks a level, 32x32) and DDPM of
the same widths, each beside diffusers' `UNet2DModel` of these widths, batch 8: milliseconds an image of a forward pass
and of a training step (loss, gradient, Adam), in blocks that take turns, since the libraries' thread pools disturb each
other, and the ratio of the medians. Above 1 ours is the faster one.
"""

import argparse
import functools
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sgm_jax.networks import UNet

# diffusers only looks whether it is there; beside a PyTorch without a GPU it may fail to import.
sys.modules.setdefault("torchvision", None)

BATCH, SIZE, WIDTHS, BLOCKS = 8, 32, (64, 128, 128, 128), 2
BLOCKS_EACH, SETTLE = 3, 2  # blocks of calls, and calls before each that are not counted
SHAPE = dict(channels=64, multipliers=(1, 2, 2, 2), blocks=BLOCKS, dropout=0.0)
OURS = {
    "NCSN++": UNet(
        **SHAPE,
        resample_filter=(1, 3, 3, 1),
        progressive_input="residual",
        embedding="log_fourier",
        output_divisor="label",
    ),
    "DDPM": UNet(**SHAPE, resampling="conv", skip_scale=1.0, group_size=1),
}


def ours(network):
    """Return functions without arguments that make a forward pass and a training step."""
    x = jax.random.normal(jax.random.key(0), (BATCH, SIZE, SIZE, 3))
    label = jnp.linspace(0.1, 10.0, BATCH)
    params = jax.jit(network.init)(jax.random.key(1), label, x)["params"]
    optimizer = optax.adam(2e-4)
    forward = jax.jit(lambda params: network.apply({"params": params}, label, x))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train(params, state):
        loss = lambda params: jnp.mean((network.apply({"params": params}, label, x) - x) ** 2)
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    carried = jax.tree.map(jnp.copy, params), optimizer.init(params)

    def step():
        nonlocal carried
        carried = jax.block_until_ready(train(*carried))

    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return lambda: jax.block_until_ready(forward(params)), step, size


def diffusers():
    """Return the same two functions for diffusers' network."""
    import torch
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=SIZE,
        block_out_channels=WIDTHS,
        layers_per_block=BLOCKS,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        norm_eps=1e-6,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
    x, label = torch.randn(BATCH, 3, SIZE, SIZE), torch.linspace(0.1, 10.0, BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)

    def forward():
        with torch.no_grad():
            network(x, label)

    def train():
        optimizer.zero_grad(set_to_none=True)
        torch.mean((network(x, label).sample - x) ** 2).backward()
        optimizer.step()

    return forward, train, sum(p.numel() for p in network.parameters())


def medians(functions, rounds):
    """Time functions in blocks of `rounds` calls that take turns; return medians in milliseconds an image."""
    times = [[] for _ in functions]
    for _ in range(BLOCKS_EACH):
        for function, taken in zip(functions, times, strict=True):
            for _ in range(SETTLE):
                function()
            for _ in range(rounds):
                start = time.perf_counter()
                function()
                taken.append(time.perf_counter() - start)
    return 1e3 / BATCH * np.median(times, axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    *theirs, their_size = diffusers()
    print("| network | parameters (diffusers) | pass | ms an image | diffusers | ratio |\n|---|---|---|---|---|---|")
    for name, network in OURS.items():
        *functions, size = ours(network)
        for kind, mine, other in zip(("forward", "train step"), functions, theirs, strict=True):
            here, there = medians((mine, other), rounds)
            sizes = f"{size / 1e6:.2f} M ({their_size / 1e6:.2f} M)"
            print(f"| {name} | {sizes} | {kind} | {here:.1f} | {there:.1f} | {there / here:.2f} |", flush=True)


if __name__ == "__main__":
    main()
