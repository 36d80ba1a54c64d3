"""What accelerators can do at best, as their makers publish it."""

import dataclasses

from sgm_jax.naming import unknown


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator.

    Args:
        name: what it is called here.
        kinds: JAX's names of its devices (`device.device_kind`).
        flops: peak of dense bfloat16 products, in FLOP/s.
        memory: bytes of high-bandwidth memory.
        bandwidth: of that memory, in bytes/s.
        link: bytes/s that it can send to the others, over all its links together; half of a published bidirectional
            figure.
        devices: JAX devices that it appears as, each with an equal share of the above.
        shape: sizes along each axis of an example of a slice; "" for what comes in no slices.
        pod: chips of the largest slice.
    """

    name: str
    kinds: tuple[str, ...]
    flops: float
    memory: float
    bandwidth: float
    link: float
    devices: int = 1
    shape: str = ""
    pod: int = 0

    @property
    def peaks(self) -> tuple[float, float, float]:
        """Operations, bytes moved and bytes sent, a second each."""
        return self.flops, self.bandwidth, self.link


GIB = 2.0**30
CHIPS = (
    # docs.cloud.google.com/tpu/docs/v4: 275 TFLOP/s, 32 GiB, 1200 GB/s; six links of 50 GB/s each way: Jouppi et al.,
    # TPU v4: An Optically Reconfigurable Supercomputer, 2023, table 4.
    Chip("v4", ("TPU v4",), 275e12, 32 * GIB, 1200e9, 300e9, shape="8x8x8", pod=4096),
    # docs.cloud.google.com/tpu/docs/v5e: 197 TFLOP/s, 16 GB, 819 GB/s, 400 GB/s bidirectional.
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 16 * GIB, 819e9, 200e9, shape="16x16", pod=256),
    # docs.cloud.google.com/tpu/docs/v5p: 459 TFLOP/s, 95 GiB, 2765 GB/s, 1200 GB/s bidirectional.
    Chip("v5p", ("TPU v5", "TPU v5p"), 459e12, 95 * GIB, 2765e9, 600e9, shape="4x4x4", pod=6144),
    # docs.cloud.google.com/tpu/docs/v6e: 918 TFLOP/s, 32 GB, 1638 GB/s, 800 GB/s bidirectional.
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 32 * GIB, 1638e9, 400e9, shape="16x16", pod=256),
    # docs.cloud.google.com/tpu/docs/tpu7x: 2307 TFLOP/s, 192 GiB, 7380 GB/s, 1200 GB/s bidirectional.
    Chip("v7x", ("TPU7x",), 2307e12, 192 * GIB, 7380e9, 600e9, devices=2, shape="4x4x4", pod=9216),
    # NVIDIA's data sheets of the A100, H100 and H200 (SXM; dense figures), NVLink of 600 and 900 GB/s both ways.
    Chip("a100", ("NVIDIA A100-SXM4-80GB",), 312e12, 80e9, 2039e9, 300e9),
    Chip("h100", ("NVIDIA H100 80GB HBM3",), 989e12, 80e9, 3350e9, 450e9),
    Chip("h200", ("NVIDIA H200",), 989e12, 141e9, 4800e9, 450e9),
)


def chip_named(name: str) -> Chip:
    """Return the TPU of this name.

    Raises:
        ValueError: if there is none.
    """
    tpus = {chip.name: chip for chip in CHIPS if chip.shape}
    if name not in tpus:
        raise unknown("the chip of --topology", name, tpus)
    return tpus[name]


def chip_of(kind: str) -> Chip | None:
    """Return the chip that a JAX device of this `device_kind` is; None where its figures are not known, as of a CPU."""
    return next((chip for chip in CHIPS if kind in chip.kinds), None)
