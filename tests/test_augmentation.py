"""Augmentation against what each transformation is by definition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.augmentation import Geometric, Parameters, flip_horizontally, identity, transform

IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
NOTHING = {field.name: np.zeros(2, np.float32) for field in dataclasses.fields(Parameters)}


def apply(images, **parameters):
    given = {name: np.full(len(images), value, np.float32) for name, value in parameters.items()}
    parameters = Parameters(**NOTHING | given)
    return np.asarray(jax.jit(transform)(images, parameters)), np.asarray(parameters.labels())


def shifted(images, right, down):
    """Shift by whole pixels, the rest filled with the mirror image."""
    padded = np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0)), mode="reflect")
    return padded[:, 8 - down : 24 - down, 8 - right : 24 - right]


@pytest.mark.parametrize(
    ("parameters", "expected", "labels"),
    [
        ({}, lambda x: x, [0] * 9),
        ({"mirrored": 1}, lambda x: x[:, :, ::-1], [1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"upside_down": 1}, lambda x: x[:, ::-1], [0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ({"rotation": np.pi / 2}, lambda x: np.rot90(x, 1, (1, 2)), [0, 0, 0, -1, 1, 0, 0, 0, 0]),
        ({"rotation": -np.pi / 2}, lambda x: np.rot90(x, -1, (1, 2)), [0, 0, 0, -1, -1, 0, 0, 0, 0]),
        ({"right": 1.5, "down": -0.5}, lambda x: shifted(x, 3, -1), [0, 0, 0, 0, 0, 0, 0, 1.5, -0.5]),
        (
            {"mirrored": 1, "rotation": np.pi, "down": 1},
            lambda x: shifted(x[:, ::-1], 0, 2),
            [1, 0, 0, -2, 0, 0, 0, 0, 1],
        ),
    ],
)
def test_what_maps_pixels_to_pixels_is_exact(parameters, expected, labels):
    found, told = apply(IMAGES, **parameters)
    np.testing.assert_allclose(found, expected(IMAGES), atol=1e-6)
    np.testing.assert_allclose(told, [labels] * 2, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "matrix"),
    [
        ({"scale": 2.5}, np.eye(2) * 2**0.5),
        ({"rotation": 0.4}, [[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]]),
        ({"stretch": 2.5}, np.diag([2**0.5, 2**-0.5])),
        # By the definition of a stretch along a line that is turned: symmetric, with these eigenvectors.
        ({"stretch": 2.5, "axis": np.pi / 4}, np.array([[3, -1], [-1, 3]]) / 8**0.5),
        # Scaled first, then turned: not the other way round, where the stretch is along another line.
        ({"rotation": np.pi / 2, "stretch": 2.5}, np.diag([2**0.5, 2**-0.5]) @ [[0, 1], [-1, 0]]),
    ],
)
def test_smooth_images_follow_the_transformation_of_the_plane(parameters, matrix):
    """A bump in (right, down) coordinates from the middle moves to where the matrix takes its centre."""
    size, centre = 65, np.array([7.0, -4.0])
    grid = np.stack(np.meshgrid(*[np.arange(size) - size // 2] * 2), -1)
    bump = lambda place: np.exp(-np.sum((place - centre) ** 2, -1) / 18)[None, :, :, None].astype(np.float32)
    expected = bump(grid @ np.linalg.inv(np.asarray(matrix)).T)
    parameters = {name: np.float32(value) for name, value in parameters.items()}
    found = jax.jit(transform)(
        bump(grid),
        Parameters(
            **{n: v[:1] for n, v in NOTHING.items()} | {name: value[None] for name, value in parameters.items()}
        ),
    )
    np.testing.assert_allclose(found, expected, atol=6e-3)


def test_draws_have_the_distribution_of_the_paper():
    drawn = Geometric(0.3).draw(jax.random.key(0), 40_000)
    share = {name: float(np.mean(np.asarray(value) != 0)) for name, value in vars(drawn).items()}
    wanted = {"mirrored": 0.5, "upside_down": 0.15, "scale": 0.3, "rotation": 0.3, "stretch": 0.3, "axis": 0.5}
    for name, value in wanted.items():
        assert share[name] == pytest.approx(value, abs=0.012), name
    np.testing.assert_array_equal(drawn.right != 0, drawn.down != 0)
    for name in ("scale", "stretch", "right", "down"):
        values = np.asarray(getattr(drawn, name))
        assert values[values != 0].std() == pytest.approx(1, abs=0.03)
    turns = np.asarray(drawn.rotation)[np.asarray(drawn.rotation) != 0]
    assert abs(turns).max() == pytest.approx(np.pi, abs=0.01) and abs(turns).mean() == pytest.approx(
        np.pi / 2, abs=0.05
    )


def test_probability_zero_leaves_flips_alone_and_labels_say_which():
    images, labels = jax.jit(Geometric(0.0))(jax.random.key(1), jnp.asarray(np.tile(IMAGES, (8, 1, 1, 1))))
    assert 0 < labels[:, 0].sum() < 16 and not np.any(labels[:, 1:])
    for number, mirrored in enumerate(labels[:, 0]):
        original = IMAGES[number % 2]
        np.testing.assert_allclose(images[number], original[:, ::-1] if mirrored else original, atol=1e-6)


def test_flips_and_nothing_have_no_labels():
    images = jnp.asarray(np.tile(IMAGES, (8, 1, 1, 1)))
    assert identity(jax.random.key(0), images)[1] is None
    flipped, labels = flip_horizontally(jax.random.key(0), images)
    same = [bool(np.all(flipped[i] == images[i])) for i in range(16)]
    assert labels is None and 0 < sum(same) < 16
    with pytest.raises(ValueError, match=r"augment_probability must be in \[0, 1\], got 1.5"):
        Geometric(1.5)
