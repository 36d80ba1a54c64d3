"""What the launcher is asked: its modes, flags and help, and which config that is."""

import pathlib
from collections.abc import Iterable, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from sgm_jax import config_files
from sgm_jax.naming import choose, unknown

MODES = {
    "run": ("train, sample, score and report", "report/index.html, and all that it shows"),
    "list": ("all configs, each in one line", ""),
    "prepare": ("download the data, or decode and resize yours", "array_record files, once (docs/data.md)"),
    "suggest": ("noise levels that suit the data", "suggestion.json"),
    "plan": ("memory, time and cost on a TPU slice", "plan.json, compiled with no TPU at hand"),
    "profile": ("time of a training step by kind of operation", "profile.json, profile/"),
    "train": ("train, or go on from the newest checkpoint", "checkpoints/, metrics.jsonl, config.json"),
    "fit": ("fit the sampler's steps to the model", "fitted_<solver>_<steps>.npz"),
    "sample": ("draw samples", "samples.npz, samples.png, samples/index.html"),
    "likelihood": ("bits per dimension of held-out data", "likelihood.json, likelihood.jsonl"),
    "inverse": ("measure and restore images", "inverse.npz, .json, .png, inverse/index.html"),
    "stats": ("Inception's statistics of the data", "statistics.npz"),
    "evaluate": ("quality of samples (accuracy)", "quality.json or evaluation.json (accuracy.json)"),
    "reproduce": ("ours beside published figures", "reproduction.json"),
    "guidance": ("quality by the scale of guidance", "guidance.json, guidance/index.html"),
    "samplers": ("quality by sampler", "samplers.json, samplers/index.html"),
    "export": ("network with a card, and sampler, as files", "model.safetensors, model.md, sampler.jax_export"),
    "convert": ("another project's checkpoint as such a file", "model.safetensors, model.md"),
}
"""What each mode does, and what it writes into the workdir."""

HELP = """usage: {program} [--mode=MODE] [--config=FILE[:VARIANT]] [--workdir=FOLDER] [--config.FIELD=VALUE ...]
  --config   experiment to run (configs/mnist.py); FILE:smoke takes a minute, configs/pretrained.py:mnist is trained
  --config.FIELD=VALUE  overrides one field, e.g. --config.train.steps=500 (configs/default.py lists them all)
  --workdir  folder for checkpoints, metrics and results (runs/<name of the config>)
  --dry_run  print what the mode would do, its size and time, and touch nothing; --debug: errors with their traceback
  --mode     what to do (run):
{modes}
  --topology=v5e:16x16 (or cpu, gpu) [--price=PER_HOUR] [--suggest] [--sampler=false] [--code]  of plan; --names of list
  --source=PATH [--format=NAME] [--source_config=JSON or name]           of convert
  --coordinator=HOST:PORT --num_processes=N --process_id=I [--heartbeat_timeout=SECONDS]  one of N (docs/scale.md)
Ctrl-C and SIGTERM save a checkpoint first; the same command then goes on where it stopped. Exit codes: 0 done, or
stopped by SIGTERM; 130 by Ctrl-C; 2 refused or failed, with one line why; 1 no update within train.step_timeout.
"""
# What it says of a flag that is not one of these goes by their names.
FLAGS = (
    *("config", "workdir", "mode", "dry_run", "debug", "names", "topology", "price", "suggest", "sampler", "code"),
    *("source", "format", "source_config"),
    *("coordinator", "num_processes", "process_id", "heartbeat_timeout"),
)


def help_text(program: str) -> str:
    """Return what `--help` prints."""
    lines = (f"    {name:<11}{does:<46}-> {writes or 'the terminal'}" for name, (does, writes) in MODES.items())
    return HELP.format(program=program, modes="\n".join(lines))


class OrNone(flags.ArgumentParser):
    """Read `None`, and whatever another parser reads."""

    def __init__(self, parser: flags.ArgumentParser):
        self.parser, self.syntactic_help = parser, parser.syntactic_help

    def parse(self, argument):
        return None if argument == "None" else self.parser.parse(argument)

    def flag_type(self):
        return self.parser.flag_type()


def define_flags() -> None:
    """Define all flags; what they mean stands in the help."""
    flags.DEFINE_string("mode", "run", "what to do")
    flags.DEFINE_string("workdir", None, "folder for checkpoints, metrics and results")
    flags.DEFINE_boolean("dry_run", False, "whether to say what would be done instead of doing it")
    flags.DEFINE_boolean("debug", False, "whether errors come with their traceback")
    flags.DEFINE_boolean("names", False, "whether a list is for shells")
    flags.DEFINE_string("topology", "", "devices to plan for")
    flags.DEFINE_float("price", None, "of a chip for an hour", lower_bound=0)
    flags.DEFINE_boolean("suggest", False, "whether a plan tries ways to train")
    flags.DEFINE_boolean("sampler", True, "whether a plan has the sampler too")
    flags.DEFINE_boolean("code", False, "whether a plan counts the bytes of the programs themselves")
    flags.DEFINE_string("source", None, "checkpoint to convert")
    flags.DEFINE_string("format", None, "its format")
    flags.DEFINE_string("source_config", None, "its flags")
    flags.DEFINE_string("coordinator", None, "address of the first process")
    flags.DEFINE_integer("num_processes", None, "number of processes")
    flags.DEFINE_integer("process_id", None, "number of this process")
    flags.DEFINE_integer("heartbeat_timeout", 100, "seconds after which a silent process is lost")
    for kind, parser in ((int, flags.IntegerParser()), (float, flags.FloatParser())):
        config_flags.register_flag_parser_for_type(kind, OrNone(parser))
    config_flags.DEFINE_config_file("config", None, "experiment", lock_config=True)


def read_flags(program: str, arguments: Sequence[str]) -> None:
    """Set the flags.

    Raises:
        ValueError: if one is unknown or has a value that is not allowed, in one line with what is.
    """
    arguments = joined(arguments)
    given = {name.lstrip("-"): value for name, _, value in (argument.partition("=") for argument in arguments)}
    file, *variant = given.get("config", default_config(given.get("workdir"))).split(":", 1)
    found = config_files.find(file)
    config_files.make_importable()
    check_fields(given, config_files.load(found, *variant))
    others = [argument for argument in arguments if argument.partition("=")[0] not in ("--config", "-config")]
    try:
        rest = flags.FLAGS([program, f"--config={':'.join([str(found), *variant])}", *others])[1:]
    except flags.UnrecognizedFlagError as error:
        name = error.flagname.partition(".")[0]
        raise unknown("flag", f"--{name}", [f"--{flag}" for flag in FLAGS]) from error
    # config_flags wraps what went wrong in layers, some of them whole tracebacks.
    except (flags.Error, AttributeError, LookupError, TypeError, ValueError) as error:
        cause = error
        while "Traceback" in str(error) and (deeper := cause.__cause__ or cause.__context__):
            cause = deeper
        raise ValueError(" ".join(str(cause).split())) from error
    if rest:
        raise ValueError(f"unexpected argument {rest[0]!r}; options start with --, see --help")
    choose("--mode", flags.FLAGS.mode, MODES)


def check_fields(given: Iterable[str], config: ConfigDict) -> None:
    """Check that fields that are overridden, `config.<field>` among the names `given`, are there.

    Raises:
        ValueError: if one is not, with the nearest one.
    """
    known = config_files.fields(config)
    for name in given:
        field = name.removeprefix("config.").split("[")[0]
        if field != name and not any(full == field or full.startswith(field + ".") for full in known):
            near = config_files.nearest(field, known)
            hint = "" if near is None else f"; did you mean --config.{near}?"
            raise ValueError(f"unknown config field --{name}{hint} configs/default.py lists them all")


def joined(arguments: Sequence[str]) -> list[str]:
    """Write `--config FILE` and `--workdir FOLDER` as one word each."""
    words: list[str] = []
    for argument in arguments:
        if words and words[-1] in ("--config", "--workdir"):
            words[-1] += f"={argument}"
        else:
            words.append(argument)
    return words


def default_config(workdir: str | None) -> str:
    """Return the config where none is given: that of a network's file in the workdir, or that of digits."""
    found = workdir is not None and (pathlib.Path(workdir) / "model.safetensors").is_file()
    return f"configs/{'pretrained' if found else 'mnist'}.py"


def default_workdir(config: pathlib.Path) -> pathlib.Path:
    """Return runs/<the config's place in configs/>, runs/<its name> for one from elsewhere."""
    return pathlib.Path("runs") / config_files.place(config)


def completions() -> str:
    """Return the words that a shell may complete, one a line."""
    known = config_files.fields(config_files.load(config_files.INSTALLED / "default.py"))
    words = [f"--mode={name}" for name in MODES] + [f"--config={name}" for name in config_files.all_files()]
    switches = [f"--{flag}" for flag in ("dry_run", "debug", "suggest", "code", "names", "help")]
    valued = [f"--{flag}=" for flag in FLAGS if f"--{flag}" not in switches and flag not in ("mode", "config")]
    return "\n".join([*words, *switches, *valued, *(f"--config.{field}=" for field in known)])
