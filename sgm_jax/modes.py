"""What the launcher can do with an experiment: one function a mode, results in the run's folder."""

import dataclasses
import json
import pathlib
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from sgm_jax import data as datasets
from sgm_jax import evaluation, fitted, inverse, likelihood, report, sampling
from sgm_jax import suggest as suggestions
from sgm_jax.experiment import Experiment
from sgm_jax.sampling import Angle, Langevin, PredictorCorrector
from sgm_jax.shapes import per_example_keys
from sgm_jax.stored import export, parameters
from sgm_jax.training import train as train_loop
from sgm_jax.training.checkpoint import to_json

# Streams of randomness, each a function of the config's seed alone.
TRAINING_DATA, HELD_OUT, SAMPLES, LIKELIHOOD, INVERSE, CLASSIFIER, FILM, LATENTS, CALIBRATION = range(9)

GRID = 100  # images in the sample grid
SUGGEST_FROM = 5000  # examples whose distances are looked at


class Unsuitable(ValueError):
    """The data do not allow what was asked for."""


def is_image(experiment: Experiment) -> bool:
    """Tell whether the data are images [h, w, c]."""
    return len(experiment.dataset.shape) == 3


def is_labelled(experiment: Experiment) -> bool:
    """Tell whether the data are 8-bit images with labels, so that a classifier can judge samples."""
    return is_image(experiment) and experiment.dataset.levels == 256 and bool(experiment.dataset.num_classes)


def check_workdir(workdir: pathlib.Path) -> None:
    """Make the folder of a run and make sure that it can be written to.

    Raises:
        OSError: if it cannot, saying so with its name.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise OSError(f"workdir {str(workdir)!r} cannot be written to: {error.strerror or error}") from error


def stream(experiment: Experiment, number: int) -> jax.Array:
    """Return the PRNG key of one stream of randomness."""
    return jax.random.fold_in(jax.random.key(experiment.config.seed), number)


def held_out_batch(experiment: Experiment, count: int) -> dict[str, np.ndarray]:
    """Return the first `count` held-out examples (or all there are) as one batch.

    Raises:
        Unsuitable: if there are none.
    """
    if not len(experiment.dataset.test):
        raise Unsuitable(f"this mode needs data, got data.name={experiment.dataset.name!r}; set --config.data.name")
    return datasets.gather(experiment.dataset.test, range(min(count, len(experiment.dataset.test))))


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write a value as JSON."""
    path.write_text(json.dumps(to_json(value), indent=1) + "\n")


# ---------------------------------------------------------------------------------------------------- training


def train(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Train, or go on from the newest checkpoint; returns the exit code."""
    return 0 if train_to_end(experiment, workdir) else 1


def train_to_end(experiment: Experiment, workdir: pathlib.Path) -> bool:
    """Train; returns whether all steps were made."""
    config = experiment.config
    write_json(workdir / "config.json", config.to_dict())
    batches = datasets.training_batches(experiment.dataset.train, config.train.batch_size, seed=config.seed)
    held_out = held_out_batch(experiment, config.train.eval_examples)
    # The same noise and times at every evaluation, so that the curve shows the network alone.
    held_out_loss = jax.jit(
        lambda params: experiment.held_out_loss(stream(experiment, HELD_OUT), params, held_out).mean()
    )
    outcome = train_loop(
        experiment.train_step(),
        jax.jit(experiment.init),
        batches,
        experiment.schedule,
        workdir,
        evaluate=lambda state: held_out_loss(state.ema_params),
        learning_rate=experiment.learning_rate,
        config=config.to_dict(),
        keep=config.train.keep,
    )
    if not outcome.finished:
        print(f"stopped at step {int(outcome.state.step)}, checkpoint saved; the same command goes on from here")
    return outcome.finished


# ---------------------------------------------------------------------------------------------------- sampling


def draw(experiment: Experiment, workdir: pathlib.Path, params: Any, count: int) -> np.ndarray:
    """Draw `count` samples as raw data, in batches whose size changes nothing but memory."""
    section = experiment.config.sampling
    label, options = experiment.sampling_labels(count), fitted.sampler(experiment, workdir)
    keys = per_example_keys(stream(experiment, SAMPLES), count)
    parts = []
    for start in tqdm(range(0, count, section.batch_size), desc="sampling", unit="batch", disable=None):
        # A last, smaller batch is filled up so that the compiled sampler serves it too.
        index = np.minimum(np.arange(start, start + section.batch_size), count - 1)
        process = experiment.process(params, None if label is None else jnp.asarray(label[index]))
        out = sampling.sample(keys[index], process, (len(index), *experiment.dataset.shape), **options)
        parts.append(np.asarray(experiment.scaling.to_raw(out.x)))
    return np.concatenate(parts)[:count]


def sample(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Draw samples into `samples.npz`, `samples.png` and a page of their own; returns the exit code."""
    samples = draw(experiment, workdir, parameters(experiment, workdir), experiment.config.sampling.count)
    save_samples(samples, experiment.sampling_labels(len(samples)), workdir)
    page = report.write(
        workdir / "samples",
        report.Report(
            title=f"{experiment.config.data.name}: samples",
            config=experiment.config.to_dict(),
            **beside_data(experiment, samples),
        ),
    )
    print(f"page: {page}")
    return 0


def beside_data(experiment: Experiment, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a page shows of the samples, and as many held-out examples where there are any."""
    shown = samples[:GRID] if is_image(experiment) else samples
    real = {"data": held_out_batch(experiment, len(shown))["x"]} if len(experiment.dataset.test) else {}
    return {"samples": shown} | real


def save_samples(samples: np.ndarray, label: np.ndarray | None, workdir: pathlib.Path) -> None:
    """Write samples, and the classes they were drawn for where there are any, to the run's folder."""
    np.savez_compressed(workdir / "samples.npz", x=samples, **({} if label is None else {"label": label}))
    if samples.ndim == 4:
        report.save_png(workdir / "samples.png", report.grid(samples[:GRID]))
    print(f"{len(samples)} samples in {workdir / 'samples.npz'}")


# ------------------------------------------------------------------------------------------------------ fitting


def fit(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Fit the config's sampler to the network and write it to `fitted_<solver>_<steps>.npz`; returns the exit code."""
    schedule = experiment.config.sampling.schedule
    if schedule != "fitted":
        raise Unsuitable(f"mode 'fit' needs --config.sampling.schedule=fitted, got {schedule!r}")
    fitted.fit(stream(experiment, CALIBRATION), experiment, workdir, parameters(experiment, workdir))
    return 0


# -------------------------------------------------------------------------------------------------- likelihood


def measure_likelihood(experiment: Experiment, params: Any) -> dict[str, Any]:
    """Compute bits per dimension of held-out data, given their classes where there are any, uniformly dequantised."""
    section = experiment.config.likelihood
    batch = held_out_batch(experiment, section.count)
    held_out, label = batch["x"], experiment.labels(batch)
    count = len(held_out)
    bin_key, probe_key = jax.random.split(stream(experiment, LIKELIHOOD))
    keys = per_example_keys(probe_key, count)
    x = experiment.scaling.dequantise(bin_key, jnp.asarray(held_out))
    log_prob, nfe = [], []
    for start in tqdm(range(0, count, section.batch_size), desc="likelihood", unit="batch", disable=None):
        index = np.minimum(np.arange(start, start + section.batch_size), count - 1)
        out = likelihood.log_likelihood(
            keys[index],
            experiment.sde,
            experiment.score_fn(params, None if label is None else label[index]),
            x[index],
            divergence=likelihood.Hutchinson(section.probes),
            chart=Angle(section.data_scale),
            rtol=section.rtol,
            atol=section.atol,
        )
        log_prob.append(np.asarray(out.log_prob))
        nfe.append(int(out.nfe))
    log_prob = np.concatenate(log_prob)[:count]
    bits = np.asarray(experiment.scaling.bits_per_dim(jnp.asarray(log_prob), x[0].size), np.float64)
    return {
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "examples": count,
        "nats_per_example": float(log_prob.mean()),
        "evaluations": float(np.mean(nfe)),
        "per_example": bits,
    }


def measure(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Write bits per dimension of held-out data to `likelihood.json`; returns the exit code."""
    result = measure_likelihood(experiment, parameters(experiment, workdir))
    save_likelihood(result, workdir)
    return 0


def save_likelihood(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write likelihoods to the run's folder."""
    write_json(workdir / "likelihood.json", result)
    print(
        f"{result['bits_per_dim']:.4f} ± {result['standard_error']:.4f} bits per dimension on {result['examples']} "
        f"held-out examples ({result['evaluations']:.0f} evaluations)"
    )


# --------------------------------------------------------------------------------------------- inverse problems


def inpaint(experiment: Experiment, params: Any) -> dict[str, np.ndarray]:
    """Complete held-out images, given their classes where there are any.

    Returns:
        Raw `original` [k, ...], `masked` [k, ...], `restored` [k, draws, ...].
    """
    section = experiment.config.inverse
    batch = held_out_batch(experiment, section.count)
    original, label = batch["x"], experiment.labels(batch)
    known = experiment.scaling.to_model(jnp.asarray(np.repeat(original, section.draws, axis=0)))
    mask_key, key = jax.random.split(stream(experiment, INVERSE))
    mask = inverse.MASKS[section.mask](mask_key, original.shape[1:])
    out = inverse.inpaint(
        key,
        experiment.sde,
        experiment.score_fn(params, None if label is None else jnp.repeat(label, section.draws)),
        known,
        mask,
        solver=PredictorCorrector(corrector=Langevin(section.snr, section.corrector_steps)),
        steps=section.steps,
    )
    restored = np.asarray(experiment.scaling.to_raw(out.x)).reshape(len(original), section.draws, *original.shape[1:])
    # Unknown pixels are shown in mid-grey.
    masked = np.where(np.asarray(mask) > 0, original, original.dtype.type(experiment.dataset.levels // 2))
    return {"original": original, "masked": masked, "restored": restored}


def invert(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Inpaint held-out images into `inverse.npz` and `inpainting.png`; returns the exit code."""
    if not is_image(experiment):
        raise Unsuitable(f"mode 'inverse' needs images, got data of shape {experiment.dataset.shape}")
    save_inpainting(inpaint(experiment, parameters(experiment, workdir)), workdir)
    return 0


def save_inpainting(result: dict[str, np.ndarray], workdir: pathlib.Path) -> None:
    """Write inpaintings to the run's folder."""
    np.savez_compressed(workdir / "inverse.npz", **result)
    rows = [result["original"], result["masked"], *np.moveaxis(result["restored"], 1, 0)]
    report.save_png(workdir / "inpainting.png", report.grid(np.concatenate(rows), columns=len(rows[0])))
    print(f"{len(rows[0])} images inpainted in {workdir / 'inverse.npz'}")


# -------------------------------------------------------------------------------------------------- evaluation


def measure_quality(experiment: Experiment, samples: np.ndarray) -> dict[str, Any]:
    """Score samples against the training data in the features of a classifier trained on these."""
    training = datasets.gather(experiment.dataset.train, range(len(experiment.dataset.train)))
    held_out = held_out_batch(experiment, len(samples))
    classifier = evaluation.train_classifier(
        stream(experiment, CLASSIFIER), training["x"], training["label"], classes=experiment.dataset.num_classes
    )
    samples = samples[: len(held_out["x"])]
    return evaluation.quality(
        classifier,
        samples,
        training["x"],
        held_out["x"],
        held_out["label"],
        sample_labels=experiment.sampling_labels(len(samples)),
    )


def evaluate(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Score fresh samples into `quality.json`; returns the exit code."""
    if not is_labelled(experiment):
        raise Unsuitable("mode 'evaluate' needs images with labels, on which it trains a classifier")
    samples = draw(experiment, workdir, parameters(experiment, workdir), experiment.config.sampling.count)
    save_quality(measure_quality(experiment, samples), workdir)
    return 0


def save_quality(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write quality figures to the run's folder."""
    write_json(workdir / "quality.json", result)
    print(
        f"Fréchet distance {result['frechet']:.1f} (real held-out data: {result['frechet_floor']:.1f}), confident "
        f"{result['confident']:.0%} (real: {result['confident_floor']:.0%}), smallest class "
        f"{min(result['class_shares']):.1%}"
        + (f", of the class asked for {result['class_accuracy']:.1%}" if "class_accuracy" in result else "")
    )


# ---------------------------------------------------------------------------------------------------- planning


def suggest(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Write noise levels and Langevin steps that suit the data to `suggestion.json`; returns the exit code."""
    train = experiment.dataset.train
    index = np.unique(np.linspace(0, len(train) - 1, min(len(train), SUGGEST_FROM)).astype(int))
    data = np.asarray(experiment.scaling.to_model(datasets.gather(train, index)["x"]), np.float32)
    result = dataclasses.asdict(suggestions.suggest(data))
    write_json(workdir / "suggestion.json", result)
    for name, value in result.items():
        print(f"{name:>15} {value:.4g}")
    return 0


MODES = {
    "suggest": suggest,
    "train": train,
    "fit": fit,
    "sample": sample,
    "likelihood": measure,
    "inverse": invert,
    "evaluate": evaluate,
    "export": export,
}
