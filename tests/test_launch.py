"""The launcher as a user meets it: good runs end to end, bad input in one clear line before any training."""

import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from processes import HURRIED

from sgm_jax import command_line, config_files, modes
from sgm_jax import launch as launcher
from sgm_jax.experiment import Experiment
from sgm_jax.progress import progress

ROOT = pathlib.Path(__file__).parents[1]
SMOKE = "--config=configs/mnist.py:smoke"
ONE_DEVICE = os.environ | {"XLA_FLAGS": HURRIED}


def launch(*arguments, **options):
    return subprocess.run(
        [sys.executable, "launch.py", *arguments], cwd=ROOT, env=ONE_DEVICE, capture_output=True, text=True, **options
    )


def complaint(*arguments):
    """Launch, and return the one line it complains with."""
    result = launch(*arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert "training:" not in result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.train.step=5"], "did you mean --config.train.steps?"),
        (["--config.trian.steps=5"], "did you mean --config.train.steps?"),
        (["--wrokdir=runs/x"], "did you mean '--workdir'?"),
        (["--mode=trian"], "did you mean 'train'?"),
        (["--config=configs/mnits.py"], "did you mean 'configs/mnist.py'?"),
        (["--config=cifar10_ddpmpp_deep"], "did you mean 'configs/score_"),
        (["--config.sde.name=vpp"], "did you mean 'vp'"),
        (["--config.sampling.solver=dpm_solvr_pp"], "did you mean 'dpm_solver_pp'"),
        (["--config.data.name=mnits"], "did you mean 'mnist'"),
        (["--config.optimizer.name=adan"], "did you mean 'adam'"),
        (["--config.sde.beta_min=0.1"], "beta_min"),
        (["--config.train.steps=0"], "steps must be at least 1, got 0"),
        (["--config.sampling.steps=0"], "sampling.steps must be at least 1, got 0"),
        (["--config.sampling.steps=None"], "sampling needs steps, or rtol and atol"),
        (["--config.train.batch_size=-3"], "got -3"),
        (["--config.train.steps=many"], "many"),
        (["--mode=dream"], "run, list, prepare"),
        (["--config=configs/absent.py"], "absent.py"),
        (["--config=configs/mnist.py:tiny"], "tiny"),
        (["surplus"], "surplus"),
        (["--config.network.name=mlp"], "mlp"),
        (["--config.inverse.mask=upper"], "upper"),
        (["--config.network.name=dit"], "options of network 'dit'"),
        (["--config.network.name=vdm"], "options of network 'vdm'"),
        (["--config.objective=clasifier"], "did you mean 'classifier'"),
        (["--config.objective=classifier"], "wide_resnet, got 'unet'"),
        (["--mode=plan", "--topology=v9:4x4"], "one of v4, v5e, v5p, v6e, v7x, got 'v9'"),
        (["--config=configs/classifier.py:smoke", "--mode=sample"], "run, train, evaluate, got 'sample'"),
        (["--config=configs/classifier.py:smoke", "--config.data.name=patches"], "labels, got data 'patches'"),
    ],
)
def test_bad_configs_are_refused_in_one_line(tmp_path, arguments, expected):
    config = [] if any(argument.startswith("--config=") for argument in arguments) else [SMOKE]
    assert expected in complaint(*config, f"--workdir={tmp_path}", *arguments)


def test_unwritable_workdir_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in complaint(SMOKE, f"--workdir={tmp_path}/file/run")


def folder(tmp_path, sizes):
    images = tmp_path / "images"
    images.mkdir()
    for number, size in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    return images


@pytest.mark.slow
def test_image_folders_are_checked_before_training(tmp_path):
    images = folder(tmp_path, [16] * 8)
    options = [SMOKE, f"--workdir={tmp_path}/run", "--config.data.name=folder", f"--config.data.path={images}"]
    (images / "broken.png").write_bytes((images / "0.png").read_bytes()[:60])
    assert "broken.png" in complaint(*options)
    (images / "broken.png").unlink()
    Image.fromarray(np.zeros((9, 16, 3), np.uint8)).save(images / "other.png")
    assert "size" in complaint(*options)
    assert "absent" in complaint(*options, f"--config.data.path={tmp_path}/absent")


def test_data_with_nan_are_refused(tmp_path):
    data = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    data[7, 1] = np.nan
    np.save(tmp_path / "data.npy", data)
    options = [f"--workdir={tmp_path}/run", "--config.data.name=arrays", f"--config.data.path={tmp_path}/data.npy"]
    assert "data.npy" in complaint("--config=configs/toy.py:smoke", *options)


def test_noise_levels_are_suggested_for_the_data(tmp_path):
    result = launch(SMOKE, f"--workdir={tmp_path}", "--mode=suggest", "--config.data.name=digits")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "suggestion.json").read_text())
    # 8x8 images in [-1, 1]: no two are farther apart than opposite corners, 16.
    assert 5 < found["sigma_max"] < 16 and found["levels"] > 10
    assert f"{found['sigma_max']:.4g}" in result.stdout


@pytest.mark.slow
def test_plan_is_made_without_data_and_without_training(tmp_path):
    options = ["--mode=plan", "--topology=cpu", "--config.data.name=folder", "--config.data.size=8"]
    result = launch(SMOKE, f"--workdir={tmp_path}", *options, "--config.sampling.steps=2")
    assert result.returncode == 0, result.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["training"]["memory"]["arguments"]["batch"] == 32 * 8 * 8 * 3
    assert plan["sampler"]["work"]["flops"] > 0 and "training step, batch 32" in result.stdout


@pytest.mark.parametrize(
    ("config", "workdir"),
    [
        ("configs/mnist.py", "runs/mnist"),
        ("configs/score_sde/vp/ddpm/cifar10.py", "runs/score_sde/vp/ddpm/cifar10"),
        ("/elsewhere/own.py", "runs/own"),
    ],
)
def test_runs_of_configs_with_the_same_name_have_folders_of_their_own(config, workdir):
    assert command_line.default_workdir(pathlib.Path(config)) == pathlib.Path(workdir)


def test_help_is_short_and_complete():
    result = launch("--help")
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) < 30 and max(map(len, lines)) <= 120
    for word in (*command_line.MODES, *(f"--{flag}" for flag in command_line.FLAGS), "Exit codes"):
        assert word in result.stdout


def test_configs_are_listed_in_a_moment_without_jax():
    script = (
        "import atexit, sys, sgm_jax.launch; atexit.register(lambda: print('jax' in sys.modules)); "
        "sys.argv = ['launch.py', '--mode=list']; sgm_jax.launch.start()"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    *lines, jax_loaded = result.stdout.splitlines()
    assert result.returncode == 0 and jax_loaded == "False"
    assert "  toy.py                               Two-dimensional densities in a minute" in lines
    assert "configs/score_sde/vp/ddpm/" in lines
    # A heading and an empty line a folder, a line with a few words a config, and those alone that can be run.
    folders = {name.rpartition("/")[0] for name in config_files.all_files()}
    assert len(lines) == len(config_files.all_files()) + 2 * len(folders) - 1
    assert all(len(line.split()) > 3 for line in lines if line.startswith("  "))
    assert not {"configs/variants.py", "configs/edm/common.py"} & config_files.all_files().keys()


def test_shells_complete_what_can_be_given():
    (snippet,) = re.findall(r"```bash\n(_sgm_jax.*?)```", (ROOT / "docs/launcher.md").read_text(), re.DOTALL)
    words = {
        "sgm-jax --config=configs/nc": ("configs/nc", "configs/ncsn.py"),
        "sgm-jax --dry_run --mode=gui": ("gui", "guidance"),
        "sgm-jax --config.train.accu": ("--config.train.accu", "--config.train.accumulate="),
    }
    calls = "".join(
        f'COMP_LINE="{line}" COMP_POINT={len(line)}; _sgm_jax sgm-jax "{word}"; echo "${{COMPREPLY[0]}}"\n'
        for line, (word, _) in words.items()
    )
    program = f'sgm-jax() {{ {sys.executable} -m sgm_jax.launch "$@"; }}\n'
    result = subprocess.run(["bash", "-c", program + snippet + calls], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == [expected for _, expected in words.values()], result.stderr


def test_tracebacks_are_shown_where_they_are_asked_for(tmp_path):
    result = launch("--mode=trian", "--debug", f"--workdir={tmp_path}")
    assert result.returncode == 2 and result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("launch.py: --mode must be one of")


def test_errors_nobody_foresaw_are_one_line_and_leave_their_traceback_in_the_workdir(tmp_path):
    try:
        _ = {}["absent"]
    except KeyError as error:
        line = launcher.unexpected(error, tmp_path)
    assert line.startswith("KeyError: 'absent'; --debug") and "traceback.txt" in line
    assert '_ = {}["absent"]' in (tmp_path / "traceback.txt").read_text()
    assert "batch_size" in launcher.unexpected(RuntimeError("RESOURCE_EXHAUSTED: 7 TiB"), tmp_path / "absent")


def test_dry_runs_tell_sizes_and_touch_nothing(tmp_path):
    import jax

    config = config_files.load(ROOT / "configs/toy.py", "smoke")
    lines = modes.dry_run("train", config, tmp_path / "run", Experiment)
    experiment = Experiment.from_config(config)
    state = experiment.init()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert f"{parameters:,} parameters" in lines["network"] and "18,000 and 2,000 held-out" in lines["data"]
    assert f"{sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 2**20:,.1f} MiB" in lines["memory"]
    assert "100 steps of 512 examples, from the start" in lines["training"]
    # Each parameter of a layer is met by a product forward and two backward, for every example: 6 operations.
    gflop = float(re.search(r"([\d.]+) GFLOP a step", lines["time"])[1])
    assert gflop == pytest.approx(6 * parameters * 512 / 1e9, rel=0.2)
    assert not list(tmp_path.iterdir())
    config.train.batch_size = 20_000
    with pytest.raises(modes.Unsuitable, match="the number of examples 18000, got 20000"):
        modes.dry_run("train", config, tmp_path / "run", Experiment)
    config.train.batch_size = 512
    # A run that was there before tells its own rate and step.
    (tmp_path / "run/checkpoints/60").mkdir(parents=True)
    (tmp_path / "run/metrics.jsonl").write_text(json.dumps({"step": 60, "steps_per_second": 0.5}) + "\n")
    lines = modes.dry_run("train", config, tmp_path / "run", Experiment)
    assert "on from step 60" in lines["training"] and "about 80 s, at the 0.5 steps/s" in lines["time"]


def test_dry_runs_describe_data_that_are_not_at_hand(tmp_path):
    config = config_files.load(ROOT / "configs/ncsn_paper/cifar10.py", "full")
    config.data.data_dir = str(tmp_path)
    lines = modes.dry_run("sample", config, tmp_path, Experiment)
    assert "(32, 32, 3); not at hand" in lines["data"] and "parameters" in lines["network"]
    assert lines["sampling"].endswith("steps of annealed_langevin") and not list(tmp_path.iterdir())
    config.evaluation.count = 99
    lines = modes.dry_run("reproduce", config, tmp_path, Experiment)
    assert lines["sampling"].startswith("99 samples") and lines["published"] == "fid 25.32, inception_score 8.87"


def test_progress_is_lines_in_logs_and_colour_on_terminals(monkeypatch):
    for terminal, expected in ((False, ["drawing: 3 of 3, 00:00 so far, 00:00 to go"]), (True, None)):
        stream = io.StringIO()
        stream.isatty = lambda terminal=terminal: terminal
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress(range(3), desc="drawing")) == [0, 1, 2]
        written = stream.getvalue()
        assert ("\x1b[32m" in written) == ("\r" in written) == terminal
        assert expected is None or written.splitlines() == expected
    monkeypatch.setenv("NO_COLOR", "1")
    list(progress(range(3)))
    assert "\x1b[32m" not in stream.getvalue().removeprefix(written)


@pytest.mark.slow
def test_wheel_runs_the_main_job_outside_of_the_repository(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    left_out = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, tmp_path / "source", ignore=left_out)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}"]
    subprocess.run([*pip, "wheel", *options, str(tmp_path / "source")], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, away = tmp_path / "site", tmp_path / "away"
    subprocess.run([*pip, "install", "--no-deps", f"--target={site}", str(wheel)], check=True, capture_output=True)
    away.mkdir()
    options = {"cwd": away, "env": ONE_DEVICE | {"PYTHONPATH": str(site)}, "capture_output": True, "text": True}
    listed = subprocess.run([sys.executable, site / "bin/sgm-jax", "--mode=list", "--names"], **options)
    assert {f"--config={name}" for name in config_files.all_files()} <= set(listed.stdout.split())
    train = ["--config=configs/toy.py:smoke", "--mode=train"]
    result = subprocess.run([sys.executable, "-m", "sgm_jax.launch", *train], **options)
    assert result.returncode == 0, result.stderr
    assert (away / "runs/toy/checkpoints/100").is_dir()
    # A config on disk goes before the library's, and takes the library's others from there.
    (away / "configs").mkdir()
    (away / "configs/toy.py").write_text("from configs.mnist import get_config as get_config")
    result = subprocess.run([sys.executable, site / "bin/sgm-jax", "--config=configs/toy.py:tiny"], **options)
    assert result.returncode == 2 and result.stderr.startswith("sgm-jax: the variants of configs/mnist.py")


def small_network():
    """A network of vectors, as the launcher finds it in a workdir."""
    import jax
    import jax.numpy as jnp

    import sgm_jax as sgm
    from sgm_jax.convert import Pretrained
    from sgm_jax.networks import MLP

    network = MLP(width=8, layers=1)
    params = network.init(jax.random.key(0), jnp.ones(1), jnp.zeros((1, 2)))["params"]
    return Pretrained(network, params, sgm.VP(), sgm.score.Noise(), {}, (2,))


@pytest.mark.slow
def test_checkpoints_that_cannot_be_converted_are_refused_in_one_line(tmp_path):
    options = ["--mode=convert", f"--workdir={tmp_path / 'run'}"]
    assert "--source" in complaint(*options)
    assert "absent.pth" in complaint(*options, f"--source={tmp_path}/absent.pth")
    (tmp_path / "evil.pkl").write_bytes(b"\x80\x04cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    assert "evil.pkl cannot be read: pickle names 'os.system'" in complaint(*options, f"--source={tmp_path}/evil.pkl")
    checkpoint = f"--source={ROOT}/tests/data/ncsnpp_ve_continuous.pth"
    assert "'score_sde_flax'" in complaint(*options, checkpoint, "--format=score_sde_flex")
    assert "config must be given" in complaint(*options, checkpoint)
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_networks_file_is_enough_to_sample(tmp_path):
    small_network().save(tmp_path / "model.safetensors")
    result = launch(f"--workdir={tmp_path}", "--mode=sample", "--config.sampling.count=6")
    assert result.returncode == 0, result.stderr
    samples = np.load(tmp_path / "samples.npz")["x"]
    assert samples.shape == (6, 2) and np.isfinite(samples).all()
    assert "--config.data.name" in complaint(f"--workdir={tmp_path}", "--mode=likelihood")
    assert "shape (2,)" in complaint(f"--workdir={tmp_path}", "--mode=likelihood", "--config.data.name=mnist")


@pytest.mark.slow
def test_checkpoints_are_converted_and_sampled(tmp_path):
    sys.path.insert(0, str(ROOT / "tests"))
    from recorded import load

    (tmp_path / "flags.json").write_text(json.dumps(load("ncsnpp_ve_continuous.npz")[2]))
    source = f"--source={ROOT}/tests/data/ncsnpp_ve_continuous.pth"
    options = [f"--workdir={tmp_path / 'run'}", f"--source_config={tmp_path / 'flags.json'}"]
    result = launch("--mode=convert", source, *options)
    assert result.returncode == 0, result.stderr
    sampling = ["--config.sampling.count=2", "--config.sampling.batch_size=2", "--config.sampling.steps=3"]
    result = launch("--mode=sample", options[0], *sampling)
    assert result.returncode == 0, result.stderr
    samples = np.load(tmp_path / "run" / "samples.npz")["x"]
    assert samples.shape == (2, 16, 16, 3) and samples.dtype == np.uint8


@pytest.mark.slow
def test_own_images_are_prepared_sized_and_trained_on(tmp_path):
    images = folder(tmp_path, [20] * 40)
    options = [f"--config.data.{name}" for name in (f"path={images}", "size=8", f"data_dir={tmp_path}", "name=folder")]
    options = ["--config=configs/images.py:smoke", *options, f"--workdir={tmp_path / 'run'}"]
    assert "did you mean 'cifar10'" in complaint(*options, "--mode=prepare", "--config.data.name=cifar")
    assert "--mode=prepare" in complaint(*options, "--mode=train")
    result = launch(*options, "--mode=prepare")
    assert "36 and 4 examples of shape (8, 8, 3)" in result.stdout, result.stderr
    result = launch(
        *options, "--mode=train", "--config.train.steps=3", "--config.data.workers=1", "--config.data.cache=0"
    )
    assert result.returncode == 0, result.stderr
    sizes = json.loads((tmp_path / "run" / "sizing.json").read_text())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["sde"]["t_max"] == sizes["sde.t_max"] and config["train"]["batch_size"] == 32
    assert config["train"]["steps"] == 3 and config["network"]["channels"] == 8


@pytest.mark.slow
def test_smoke_run_and_every_mode(tmp_path):
    options = [SMOKE, f"--workdir={tmp_path}"]
    assert "no checkpoint" in complaint(*options, "--mode=sample")
    result = launch(*options)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    first = np.load(tmp_path / "samples.npz")["x"]
    assert first.shape == (32, 28, 28, 1) and first.dtype == np.uint8
    likelihoods = json.loads((tmp_path / "likelihood.json").read_text())
    assert likelihoods["examples"] == 8 and np.isfinite(likelihoods["bits_per_dim"])
    assert json.loads((tmp_path / "quality.json").read_text())["heldout"] == 32
    restored = np.load(tmp_path / "inverse.npz")
    # The upper half was known, so it is kept exactly.
    np.testing.assert_array_equal(restored["restored"][:, 0, :14], restored["original"][:, :14])

    # Drawing again in batches of another size gives the same images.
    result = launch(*options, "--mode=sample", "--config.sampling.batch_size=20")
    assert result.returncode == 0, result.stderr
    again = np.load(tmp_path / "samples.npz")["x"]
    assert np.mean(again != first) < 0.01 and np.abs(again.astype(int) - first).max() <= 2
    for mode in ("likelihood", "inverse", "evaluate", "train"):
        result = launch(*options, f"--mode={mode}")
        assert result.returncode == 0, result.stderr
    assert "another architecture" in complaint(*options, "--config.network.channels=16", "--mode=sample")

    # The exported network draws the same images from its file alone, and its card tells what was measured.
    assert launch(*options, "--mode=export").returncode == 0
    card = (tmp_path / "model.md").read_text()
    assert f"| likelihood: bits_per_dim | {likelihoods['bits_per_dim']:.4g} |" in card and "| steps | 40 |" in card
    (tmp_path / "other").mkdir()
    (tmp_path / "model.safetensors").rename(tmp_path / "other" / "model.safetensors")
    result = launch(SMOKE, f"--workdir={tmp_path / 'other'}", "--mode=sample")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "other" / "samples.npz")["x"], first)


@pytest.mark.slow
def test_classifier_is_trained_and_measured(tmp_path):
    options = ["--config=configs/classifier.py:smoke", f"--workdir={tmp_path}"]
    result = launch(*options)
    assert result.returncode == 0, result.stderr
    measured = json.loads((tmp_path / "accuracy.json").read_text())
    assert measured["examples"] == 500 and len(measured["accuracy"]) == len(measured["noise_levels"]) == 5
    (tmp_path / "accuracy.json").unlink()
    assert launch(*options, "--mode=evaluate").returncode == 0
    assert json.loads((tmp_path / "accuracy.json").read_text()) == measured


@pytest.mark.slow
def test_a_trained_classifier_gives_labels_to_a_network_that_knows_none(tmp_path):
    few = [f"--config.train.{name}=4" for name in ("steps", "log_every", "eval_every", "checkpoint_every")]
    for name in ("classifier", "mnist"):
        options = [f"--config=configs/{name}.py:smoke", f"--workdir={tmp_path / name}", "--mode=train"]
        assert launch(*options, *few).returncode == 0
    options = [SMOKE, f"--workdir={tmp_path / 'mnist'}", "--mode=sample", "--config.sampling.label=3"]
    assert "sampling.classifier" in complaint(*options)
    options += [f"--config.sampling.classifier={tmp_path / 'classifier'}", "--config.sampling.count=4"]
    drawn = []
    for guidance in (0.0, 50.0):
        result = launch(*options, "--config.sampling.batch_size=4", f"--config.sampling.guidance={guidance}")
        assert result.returncode == 0, result.stderr
        with np.load(tmp_path / "mnist" / "samples.npz") as samples:
            drawn.append(dict(samples))
    assert set(drawn[1]["label"]) == {3} and np.any(drawn[0]["x"] != drawn[1]["x"])


@pytest.mark.slow
def test_conditional_smoke_run(tmp_path):
    result = launch("--config=configs/mnist_conditional.py:smoke", f"--workdir={tmp_path}")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npz")["label"], np.arange(32) % 10)
    assert 0 <= json.loads((tmp_path / "quality.json").read_text())["class_accuracy"] <= 1
    assert np.isfinite(json.loads((tmp_path / "likelihood.json").read_text())["bits_per_dim"])
    assert (tmp_path / "inverse.npz").exists() and (tmp_path / "report" / "index.html").exists()


@pytest.mark.slow
def test_shipped_digits_are_drawn_by_one_command(tmp_path):
    options = ["--config=configs/pretrained.py:mnist", f"--workdir={tmp_path}"]
    assert "choose another mode" in complaint(*options)
    assert "tiny" in complaint("--config=configs/pretrained.py:tiny", f"--workdir={tmp_path}")
    result = launch(*options, "--mode=sample", "--config.sampling.label=7", "--config.sampling.count=20")
    assert result.returncode == 0, result.stderr
    samples = np.load(tmp_path / "samples.npz")
    assert samples["x"].shape == (20, 28, 28, 1) and set(samples["label"]) == {7}
    assert (tmp_path / "samples" / "index.html").stat().st_size > 5000


@pytest.mark.slow
def test_killed_launcher_goes_on_bit_for_bit(tmp_path):
    import jax

    sys.path.insert(0, str(ROOT))
    from configs.mnist import get_config
    from sgm_jax.experiment import Experiment
    from sgm_jax.training import Checkpoints

    options = [SMOKE, "--mode=train", "--config.train.checkpoint_every=5"]
    assert launch(*options, f"--workdir={tmp_path}/whole").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "launch.py", *options, f"--workdir={tmp_path}/killed"],
        cwd=ROOT,
        env=ONE_DEVICE,
        stderr=subprocess.DEVNULL,
    )
    checkpoints = tmp_path / "killed" / "checkpoints"
    while not (checkpoints / "10").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert launch(*options, f"--workdir={tmp_path}/killed").returncode == 0
    experiment = Experiment.from_config(get_config("smoke"))
    states = []
    for name in ("whole", "killed"):
        with Checkpoints(tmp_path / name) as stored:
            assert stored.latest == 40
            states.append(stored.restore(jax.eval_shape(experiment.init))[0])
    for one, other in zip(jax.tree.leaves(states[0]), jax.tree.leaves(states[1]), strict=True):
        np.testing.assert_array_equal(one, other)
