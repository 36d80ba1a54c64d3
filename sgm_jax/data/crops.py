"""From photographs to squares: the crops and resizes of the papers, each a function `(image, size) -> image`."""

import dataclasses
from typing import Any

from PIL import Image

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


def centre_square(image: Any, size: int, kernel: str = "bicubic") -> Any:
    """Crop a Pillow image to its centre square and resize it, antialiased, to `size`.

    References:
        Song et al., Score-Based Generative Modeling through SDEs, 2021: LSUN at 256 pixels.
    """
    return image.crop(_centre(image, min(image.size))).resize((size, size), FILTERS[kernel])


@dataclasses.dataclass(frozen=True)
class Square:
    """The crop `centre_square` to one size, as a function of the image alone.

    Args:
        size: height and width.
        kernel: one of `FILTERS`.
    """

    size: int
    kernel: str = "bicubic"

    def __call__(self, image: Any) -> Any:
        """Crop and resize."""
        return centre_square(image, self.size, self.kernel)


def celeba(image: Any, size: int) -> Any:
    """Crop the central 140 pixels and resize them bilinearly, antialiased.

    References:
        Song et al., Score-Based Generative Modeling through SDEs, 2021: CelebA at 64 pixels.
    """
    return image.crop(_centre(image, 140)).resize((size, size), FILTERS["bilinear"])


def shortest_side(image: Any, size: int) -> Any:
    """Resize the shorter side to `size`, bilinearly and antialiased, and crop the centre.

    References:
        Song et al., Score-Based Generative Modeling through SDEs, 2021: LSUN at 128 pixels.
    """
    scale = size / min(image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), FILTERS["bilinear"])
    return image.crop(_centre(image, size))


def halve_then_bicubic(image: Any, size: int) -> Any:
    """Halve by averages while more than twice too large, resize the shorter side bicubically, and crop the centre.

    References:
        Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021: ImageNet.
    """
    while min(image.size) >= 2 * size:
        image = image.resize(tuple(side // 2 for side in image.size), FILTERS["box"])
    scale = size / min(image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), FILTERS["bicubic"])
    return image.crop(_centre(image, size))


def _centre(image: Any, side: int) -> tuple[int, int, int, int]:
    width, height = image.size
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
