"""Train, sample, score and report: `python launch.py --config=configs/mnist.py --workdir=runs/mnist --mode=run`."""

import functools
import pathlib
import sys

from absl import flags, logging
from ml_collections import config_flags

MODES = (
    "run",
    "train",
    "sample",
    "fit",
    "likelihood",
    "inverse",
    "stats",
    "evaluate",
    "reproduce",
    "guidance",
    "suggest",
    "prepare",
    "plan",
    "export",
    "convert",
)
HELP = f"""usage: python launch.py [--config=FILE[:smoke]] [--workdir=FOLDER] [--mode=MODE] [--config.FIELD=VALUE ...]

  --config   experiment to run                            (configs/mnist.py; ':smoke' is a one-minute version)
             configs/pretrained.py:mnist is a trained network, for modes sample, likelihood, inverse and evaluate
  --workdir  folder for checkpoints, metrics and results  (runs/<name of the config>)
  --mode     {", ".join(MODES)}
               run         train, sample, score and write <workdir>/report/index.html
               prepare     download the data, or decode and resize yours, once -> array_record files (docs/data.md)
               suggest     noise levels that suit the data      -> suggestion.json
               plan        memory, time and cost on a TPU slice -> plan.json, compiled with no TPU at hand:
                           --topology=v5e:16x16 (or cpu, gpu) [--price=PER_CHIP_HOUR] [--suggest]
               train       train, or go on from the newest checkpoint in the workdir
               fit         fit the sampler's steps to the model -> fitted_<solver>_<steps>.npz
               sample      draw samples                         -> samples.npz, samples.png, samples/index.html
               likelihood  bits per dimension of held-out data  -> likelihood.json
               inverse     measure and restore images           -> inverse.npz, .json, .png, inverse/index.html
               stats       Inception's statistics of the data   -> statistics.npz
               evaluate    quality of samples (accuracy)        -> quality.json or evaluation.json (accuracy.json)
               reproduce   ours beside published figures        -> reproduction.json
               guidance    quality by the scale of guidance     -> guidance.json, guidance/index.html
               export      network and sampler, a file each     -> model.safetensors, sampler.jax_export
               convert     another project's checkpoint, --source=PATH [--format=NAME] [--source_config=JSON or name]
                           -> model.safetensors, where modes find a network if the workdir has no checkpoint
  --coordinator=HOST:PORT --num_processes=N --process_id=I [--heartbeat_timeout=SECONDS]
             one of N processes that train together; found without flags by SLURM, Open MPI and Cloud TPU
  --config.FIELD=VALUE  overrides one field, e.g. --config.train.steps=500 (configs/default.py lists them all)

Ctrl-C and SIGTERM save a checkpoint first; the same command then goes on where it stopped. Exit codes: 0 done, or
stopped by SIGTERM; 130 by Ctrl-C; 2 refused or failed, with one line why; 1 no update within train.step_timeout.
"""


HOSTS = ("coordinator", "num_processes", "process_id", "heartbeat_timeout")


def fail(message: str) -> int:
    print(f"launch.py: {message}", file=sys.stderr)
    return 2


def plain(error: BaseException) -> str:
    """Return in one line what went wrong; config_flags wraps it in layers, some of them whole tracebacks."""
    cause = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__
    message = str(cause) if "Traceback" in str(error) else str(error)
    if isinstance(error, AttributeError | KeyError):
        message = "unknown config field " + str(error.args[0]).replace("\\n", " ").replace("\\", "").replace("'", "")
    return " ".join(message.split())


def default_config(arguments: list[str]) -> str:
    """Return the config for arguments that name none: that of a network's file in the workdir, or that of digits."""
    folders = [argument.partition("=")[2] for argument in arguments if argument.lstrip("-").startswith("workdir=")]
    found = folders and (pathlib.Path(folders[-1]) / "model.safetensors").is_file()
    return "pretrained" if found else "mnist"


def default_workdir(config: pathlib.Path) -> pathlib.Path:
    """Return runs/<the config's place in configs/>, runs/<its name> for one from elsewhere."""
    place = config.relative_to("configs") if config.is_relative_to("configs") else pathlib.Path(config.name)
    return pathlib.Path("runs") / place.with_suffix("")


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        return fail(f"unexpected argument {argv[1]!r}; options start with --, see --help")
    config, workdir, mode, source = (flags.FLAGS[name].value for name in ("config", "workdir", "mode", "source"))
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = pathlib.Path(workdir or default_workdir(pathlib.Path(config_file.split(":")[0])))

    import jax

    from sgm_jax.training import hosts

    try:
        count = hosts.connect(*(flags.FLAGS[name].value for name in HOSTS))
    except ValueError as error:
        return fail(str(error))
    if count > 1 and mode != "train":
        return fail(f"--mode on several hosts must be 'train', got {mode!r} on {count}; other modes take one host")

    from sgm_jax import components, guides, modes, planning, run, stored, teachers
    from sgm_jax.fitted import FitMismatch
    from sgm_jax.naming import choose
    from sgm_jax.training import CheckpointMismatch, TrainingDiverged

    try:
        if mode == "prepare":
            return modes.prepare(config)
        modes.check_workdir(workdir)
        if config.compilation_cache:
            jax.config.update("jax_compilation_cache_dir", str(workdir / "cache"))
        if mode == "convert":
            if source is None:
                return fail("--mode=convert needs --source=PATH")
            return stored.convert(source, flags.FLAGS.format, flags.FLAGS.source_config, workdir)
        config = modes.sized(config, workdir)
        kind, tasks = choose("objective", config.objective, run.OBJECTIVES)
        task = choose(f"--mode for objective {config.objective!r}", mode, tasks)
        if mode in ("run", "train") and config.pretrained:
            return fail(f"--mode={mode} trains a network of its own; for {config.pretrained!r} choose another mode")
        network = None if mode in ("run", "train") else stored.find(config, workdir)
        if mode == "plan":
            load = functools.partial(components.describe_data, num_classes=config.network.get("num_classes"))
            options = {name: flags.FLAGS[name].value for name in ("price", "suggest")}
            task = functools.partial(task, topology=planning.find(flags.FLAGS.topology), **options)
            experiment = kind.from_config(config, load=load)
        else:
            experiment = kind.from_config(config) if network is None else kind.from_config(config, network)
            experiment = guides.attach(experiment)
        if mode in ("run", "train", "plan"):
            experiment = teachers.attach(experiment)
    except (ValueError, OSError) as error:
        return fail(str(error))
    try:
        return task(experiment, workdir)
    except (CheckpointMismatch, FitMismatch, TrainingDiverged, FileNotFoundError, modes.Unsuitable) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error}; the last checkpoint in {workdir} is kept")
    except KeyboardInterrupt:
        fail(f"interrupted; what {workdir} holds is kept")
        return 130


def start() -> None:
    if "--help" in sys.argv or "-h" in sys.argv:
        print(HELP, end="")
        sys.exit(0)
    flags.DEFINE_string("workdir", None, "folder for checkpoints, metrics and results")
    flags.DEFINE_string("source", None, "checkpoint to convert")
    flags.DEFINE_string("format", None, "its format")
    flags.DEFINE_string("source_config", None, "its flags")
    flags.DEFINE_string("topology", "", "devices to plan for")
    flags.DEFINE_float("price", None, "of a chip for an hour", lower_bound=0)
    flags.DEFINE_boolean("suggest", False, "whether a plan tries ways to train")
    flags.DEFINE_string("coordinator", None, "address of the first process")
    flags.DEFINE_integer("num_processes", None, "number of processes")
    flags.DEFINE_integer("process_id", None, "number of this process")
    flags.DEFINE_integer("heartbeat_timeout", 100, "seconds after which a silent process is lost")
    flags.DEFINE_enum("mode", "run", MODES, "what to do")
    config_flags.DEFINE_config_file("config", None, "experiment", lock_config=True)
    logging.set_verbosity(logging.WARNING)
    program, *arguments = sys.argv
    if not any(argument.lstrip("-").partition("=")[0] == "config" for argument in arguments):
        arguments.insert(0, f"--config=configs/{default_config(arguments)}.py")
    try:
        rest = flags.FLAGS([program, *arguments])
        config_file = config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]
        if not pathlib.Path(config_file).is_file():
            raise ValueError(f"--config must name a file, got {config_file!r}")
    except (flags.Error, AttributeError, KeyError, ValueError, TypeError, OSError, SyntaxError) as error:
        sys.exit(fail(plain(error)))
    sys.exit(main(rest))


if __name__ == "__main__":
    start()
