"""Cards of trained networks: what they say is what the network is."""

import dataclasses
import importlib.resources
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.convert import Pretrained, card
from sgm_jax.networks import MLP, UNet
from sgm_jax.scaling import Scaling
from sgm_jax.score import Denoised


def small(directory):
    network = MLP(width=8, layers=1)
    params = network.init(jax.random.key(0), jnp.ones(1), jnp.zeros((1, 2)))["params"]
    facts = {"format": "sgm_jax", "training": {"steps": 1200, "loss": 0.123456}}
    model = Pretrained(network, params, sgm.VE(0.02, 30.0), Denoised(), {"x": 1}, (2,), Scaling(256, 0.0, 1.0), facts)
    model.save(directory / "model.safetensors")
    return model, card.write(model, directory / "model.safetensors").read_text()


def test_objects_stand_in_the_card_as_python_has_them(tmp_path):
    model, text = small(tmp_path)
    names = vars(sgm.sde) | vars(sgm.score) | vars(sgm.networks) | {"float32": jnp.float32}
    for heading in ("SDE", "Prediction", "Network"):
        (written,) = re.findall(rf"^{heading}: `(.*)`$", text, re.MULTILINE)
        assert eval(written, names) == getattr(model, heading.lower())
    # A layer of the label, one hidden, one out: counted by their shapes.
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    assert f"| network | MLP, {count:,} parameters |" in text
    assert "| format | sgm_jax |" in text and "## Training" in text
    assert "| steps | 1,200 |" in text and "| loss | 0.1235 |" in text
    conditional = dataclasses.replace(model, network=UNet(num_classes=10))
    assert "conditional(jax.numpy.arange(16) % 10)" in card.text(conditional, "model.safetensors")


@pytest.mark.slow
def test_code_of_the_card_draws_samples(tmp_path, monkeypatch):
    _, text = small(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(textwrap.dedent(re.search(r"## Use\n\n((?:    .*\n|\n)*)", text)[1]), names)
    assert names["raw"].shape == (16, 2) and np.issubdtype(names["raw"].dtype, np.unsignedinteger)


def test_shipped_networks_have_cards_of_their_own():
    folder = importlib.resources.files("sgm_jax.convert") / "weights"
    files = [file.name for file in folder.iterdir()]
    for file in files:
        if not file.endswith(".safetensors"):
            continue
        name = file.removesuffix(".safetensors")
        text = (folder / f"{name}.md").read_text()
        count = sum(leaf.size for leaf in jax.tree.leaves(sgm.pretrained(name).params))
        assert f"{count:,} parameters" in text
        for heading in ("What it is", "Data", "Training", "What it reaches", "Limits"):
            assert f"## {heading}" in text
