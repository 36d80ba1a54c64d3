"""DDPM++ and NCSN++ in PyTorch, layer for layer the networks of `sgm_jax.networks.UNet`, for timings side by side.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Resample(nn.Module):
    """Halve ("down") or double ("up") height and width, filtering with `taps`."""

    def __init__(self, taps: tuple[int, ...], way: str, channels: int):
        super().__init__()
        self.way, self.plain, self.taps = way, taps == (1, 1), len(taps)
        kernel = torch.tensor(taps, dtype=torch.float32)
        kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
        self.register_buffer("kernel", (kernel * (4 if way == "up" else 1)).expand(channels, 1, -1, -1).contiguous())

    def forward(self, x):
        if self.plain:
            return F.avg_pool2d(x, 2) if self.way == "down" else F.interpolate(x, scale_factor=2.0, mode="nearest")
        kernel, channels, padding = self.kernel.to(x.dtype), x.shape[1], (self.taps - 2) // 2
        if self.way == "down":
            return F.conv2d(x, kernel, stride=2, padding=padding, groups=channels)
        return F.conv_transpose2d(x, kernel, stride=2, padding=padding, groups=channels)


def norm(channels):
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, embedding, dropout, way=None, taps=(1, 1)):
        super().__init__()
        self.norm_0, self.norm_1 = norm(inputs), norm(outputs)
        self.conv_0, self.conv_1 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.condition, self.dropout = nn.Linear(embedding, outputs), nn.Dropout(dropout)
        self.resample = Resample(taps, way, inputs) if way else nn.Identity()
        self.skip = nn.Conv2d(inputs, outputs, 1) if way or inputs != outputs else nn.Identity()

    def forward(self, x, embedding):
        h = self.conv_0(self.resample(F.silu(self.norm_0(x))))
        h = h + self.condition(F.silu(embedding))[:, :, None, None]
        h = self.conv_1(self.dropout(F.silu(self.norm_1(h))))
        return (self.skip(self.resample(x)) + h) * 0.5**0.5


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.out = norm(channels), nn.Linear(channels, channels)
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))

    def forward(self, x):
        b, c, h, w = x.shape
        normed = self.norm(x).permute(0, 2, 3, 1).reshape(b, 1, h * w, c)
        mixed = F.scaled_dot_product_attention(self.query(normed), self.key(normed), self.value(normed))
        return (x + self.out(mixed).reshape(b, h, w, c).permute(0, 3, 1, 2)) * 0.5**0.5


class TorchUNet(nn.Module):
    """The network called as `(noise label [b], x [b, channels, h, w])`; `fir` makes it NCSN++, without it is DDPM++."""

    def __init__(
        self, channels=128, multipliers=(1, 2, 2, 2), blocks=4, attention=(16,), size=32, dropout=0.1, fir=False
    ):
        super().__init__()
        self.channels, self.fir, taps = channels, fir, (1, 3, 3, 1) if fir else (1, 1)
        width = 4 * channels
        if fir:
            self.register_buffer("frequencies", 16.0 * torch.randn(channels))
        self.embed = nn.Sequential(nn.Linear(channels * (1 + fir), width), nn.SiLU(), nn.Linear(width, width))
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.down, self.up, self.pyramid = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        here, skips, inputs = channels, [channels], 3
        for level, multiplier in enumerate(multipliers):
            out = channels * multiplier
            for _ in range(blocks):
                attend = Attention(out) if size in attention else nn.Identity()
                self.down.append(nn.ModuleList([ResidualBlock(here, out, width, dropout), attend]))
                here = out
                skips.append(here)
            if level < len(multipliers) - 1:
                resample = ResidualBlock(here, out, width, dropout, "down", taps)
                self.down.append(nn.ModuleList([resample, nn.Identity()]))
                if fir:
                    # A blur with one more tap's padding, then a strided convolution without any.
                    self.pyramid.append(nn.ModuleList([Blur(taps, inputs), nn.Conv2d(inputs, out, 3, stride=2)]))
                    inputs = out
                size //= 2
                skips.append(here)
        self.middle = nn.ModuleList(
            [ResidualBlock(here, here, width, dropout), Attention(here), ResidualBlock(here, here, width, dropout)]
        )
        for level, multiplier in reversed(list(enumerate(multipliers))):
            out = channels * multiplier
            for i in range(blocks + 1):
                attend = Attention(out) if size in attention and i == blocks else nn.Identity()
                self.up.append(nn.ModuleList([ResidualBlock(here + skips.pop(), out, width, dropout), attend]))
                here = out
            if level:
                resample = ResidualBlock(here, out, width, dropout, "up", taps)
                self.up.append(nn.ModuleList([resample, nn.Identity()]))
                size *= 2
        self.head_norm, self.head = norm(here), nn.Conv2d(here, 3, 3, padding=1)

    def _label(self, label):
        if self.fir:
            angles = torch.log(label)[:, None] * self.frequencies * 2 * math.pi
        else:
            half = self.channels // 2
            rates = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half, device=label.device))
            angles = label[:, None] * rates
        return self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))

    def forward(self, label, x):
        embedding, pyramid, rungs = self._label(label), x, iter(self.pyramid)
        h = self.stem(x)
        skips = [h]
        for block, attend in self.down:
            h = attend(block(h, embedding))
            if self.fir and isinstance(block.resample, Resample):
                blur, conv = next(rungs)
                h = pyramid = (conv(blur(pyramid)) + h) * 0.5**0.5
            skips.append(h)
        first, attend, last = self.middle
        h = last(attend(first(h, embedding)), embedding)
        for block, attend in self.up:
            if not isinstance(block.resample, Resample):
                h = torch.cat([h, skips.pop()], dim=1)
            h = attend(block(h, embedding))
        h = self.head(F.silu(self.head_norm(h)))
        return h / label[:, None, None, None] if self.fir else h


class Blur(nn.Module):
    def __init__(self, taps: tuple[int, ...], channels: int):
        super().__init__()
        kernel = torch.tensor(taps, dtype=torch.float32)
        kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
        self.register_buffer("kernel", kernel.expand(channels, 1, -1, -1).contiguous())

    def forward(self, x):
        before, after = (len(self.kernel[0, 0]) + 1) // 2, len(self.kernel[0, 0]) // 2
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, self.kernel.to(x.dtype), groups=x.shape[1])
