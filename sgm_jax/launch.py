"""The launcher: `sgm-jax`, `python -m sgm_jax.launch`, or `python launch.py` in the repository."""

import functools
import os
import pathlib
import signal
import sys
import traceback

from absl import flags, logging
from ml_collections import config_flags

from sgm_jax import command_line, config_files
from sgm_jax.naming import choose

PROGRAM = pathlib.Path(sys.argv[0]).name
BEFORE = ("prepare", "convert")  # modes that need no experiment
TOGETHER = ("train", "sample", "likelihood", "stats", "evaluate", "inverse", "reproduce", "guidance", "samplers")
HOSTS = ("coordinator", "num_processes", "process_id", "heartbeat_timeout")


def fail(message: str) -> int:
    """Say in one line why the launcher ends, after the traceback where it was asked for; returns the exit code."""
    if "--debug" in sys.argv and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"{PROGRAM}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def main(config_file: pathlib.Path, workdir: pathlib.Path) -> int:
    """Do what the flags ask; returns the exit code."""
    mode, source = flags.FLAGS.mode, flags.FLAGS.source
    if mode == "list":
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # so that it ends in silence when `head` has seen enough
        print(command_line.completions() if flags.FLAGS.names else config_files.listing())
        return 0
    config = flags.FLAGS.config

    import jax

    from sgm_jax.training import hosts

    try:
        count = hosts.connect(*(getattr(flags.FLAGS, name) for name in HOSTS))
    except ValueError as error:
        return fail(str(error))
    if count > 1 and mode not in TOGETHER:
        return fail(f"--mode on several hosts must be one of {', '.join(TOGETHER)}, got {mode!r} on {count}")

    from sgm_jax import components, guides, modes, planning, run, stored, teachers
    from sgm_jax.fitted import FitMismatch
    from sgm_jax.modes import features
    from sgm_jax.training import CheckpointMismatch, TrainingDiverged

    try:
        kind, tasks = choose("objective", config.objective, run.OBJECTIVES)
        task = choose(f"--mode for objective {config.objective!r}", mode, dict.fromkeys(BEFORE) | tasks)
        if mode in ("run", "train") and config.pretrained:
            return fail(f"--mode={mode} trains a network of its own; for {config.pretrained!r} choose another mode")
        if mode == "convert" and source is None:
            return fail("--mode=convert needs --source=PATH")
        if flags.FLAGS.dry_run:
            does, writes = command_line.MODES[mode]
            lines = {"mode": f"{mode}: {does}", "workdir": str(workdir)}
            if mode == "convert":
                lines["source"] = source
            else:
                lines["config"] = str(config_file)
                lines |= modes.dry_run(mode, config, workdir, kind, teachers.attach)
            lines["writes"] = writes
            print("\n".join(f"{name:<10} {line}" for name, line in lines.items()))
            return 0
        if mode == "prepare":
            return modes.prepare(config)
        modes.check_workdir(workdir)
        if config.compilation_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
            jax.config.update("jax_compilation_cache_dir", str(workdir / "cache"))
        if mode == "convert":
            return stored.convert(source, flags.FLAGS.format, flags.FLAGS.source_config, workdir)
        config = modes.sized(config, workdir)
        network = None if mode in ("run", "train") else stored.find(config, workdir)
        if mode == "plan":
            load = functools.partial(components.describe_data, num_classes=config.network.get("num_classes"))
            options = {name: flags.FLAGS[name].value for name in ("price", "suggest", "sampler", "code")}
            task = functools.partial(task, topology=planning.find(flags.FLAGS.topology), **options)
            experiment = kind.from_config(config, load=load)
        else:
            experiment = kind.from_config(config) if network is None else kind.from_config(config, network)
            experiment = guides.attach(experiment)
        if mode in ("run", "train", "plan", "profile"):
            experiment = teachers.attach(experiment)
    except (ValueError, OSError) as error:
        return fail(str(error))
    try:
        if mode == "train":
            return task(experiment, workdir)
        with hosts.one_writes(workdir, features.FOLDER) as folder:
            return task(experiment, folder)
    except (CheckpointMismatch, FitMismatch, TrainingDiverged, FileNotFoundError, modes.Unsuitable) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error}; the last checkpoint in {workdir} is kept")


def unexpected(error: Exception, workdir: pathlib.Path) -> str:
    """Return one line for an error that nobody foresaw; its traceback goes to the run's folder where there is one."""
    line, where = f"{type(error).__name__}: {error}", "--debug shows the traceback"
    if "RESOURCE_EXHAUSTED" in line:
        line = "out of memory: take a larger train.accumulate, or a smaller batch_size (of train, sampling, likelihood)"
    if workdir.is_dir():
        (workdir / "traceback.txt").write_text(traceback.format_exc())
        where += f", which is in {workdir / 'traceback.txt'}"
    return f"{line[:500]}; {where}"


def start() -> None:
    """Run the launcher with the process's arguments, and end the process."""
    program, *arguments = sys.argv
    if "--help" in arguments or "-h" in arguments:
        print(command_line.help_text(PROGRAM), end="")
        sys.exit(0)
    logging.set_verbosity(logging.WARNING)
    command_line.define_flags()
    try:
        command_line.read_flags(program, arguments)
    except ValueError as error:
        sys.exit(fail(str(error)))
    config_file = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0])
    workdir = pathlib.Path(flags.FLAGS.workdir or command_line.default_workdir(config_file))
    try:
        code = main(config_file, workdir)
    except KeyboardInterrupt:
        fail(f"interrupted; what {workdir} holds is kept")
        code = 130
    except Exception as error:
        code = fail(unexpected(error, workdir))
    sys.exit(code)


if __name__ == "__main__":
    start()
