"""A plan: what training and sampling take on the devices of a topology."""

import dataclasses
from typing import Any

from sgm_jax.experiment import Experiment
from sgm_jax.planning.analysis import Measured
from sgm_jax.planning.hlo import Number
from sgm_jax.planning.passes import measured
from sgm_jax.planning.programs import sampler, training_step
from sgm_jax.planning.topology import Topology


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an experiment takes on a topology.

    Args:
        topology: its name.
        chips: number of chips.
        steps: training steps in all.
        training: one training step.
        sampler: one batch of samples from the first step to the last; None where it was not asked for.
        price: of a chip for an hour, in any currency; None where it was not given.
    """

    topology: str
    chips: int
    steps: int
    training: Measured
    sampler: Measured | None
    price: float | None

    @property
    def chip_hours(self) -> float | None:
        """Hours of all chips together that the training takes at best."""
        return None if self.training.seconds is None else self.steps * self.training.seconds * self.chips / 3600

    @property
    def cost(self) -> float | None:
        """Price of the training at best."""
        return None if self.price is None or self.chip_hours is None else self.price * self.chip_hours


def plan(
    experiment: Experiment, topology: Topology, price: float | None = None, sampling: bool = True, code: bool = False
) -> Plan:
    """Compile the training step and the sampler of an experiment for a topology and measure them.

    Args:
        experiment: the experiment; its data need not be at hand.
        topology: the devices, which need not be there.
        price: of a chip for an hour.
        sampling: whether to compile the sampler too.
        code: whether the program's own bytes are to count too, as in `passes.measured`.

    Raises:
        ValueError: if the config's mesh does not fit the devices, or they do not divide the batch.
    """
    return Plan(
        topology.name,
        topology.chips,
        experiment.config.train.steps,
        measured(training_step, experiment, topology, code),
        measured(sampler, experiment, topology, code) if sampling else None,
        price,
    )


def as_dict(value: Any) -> Any:
    """Return a plan as nested dicts, what follows from its entries included."""
    if not dataclasses.is_dataclass(value):
        return {name: as_dict(entry) for name, entry in value.items()} if isinstance(value, dict) else value
    derived = [name for name, entry in vars(type(value)).items() if isinstance(entry, property)]
    return {name: as_dict(getattr(value, name)) for name in (*vars(value), *derived)}


def describe(plan: Plan) -> str:
    """Return a plan as lines to read."""
    lines = [f"{plan.topology}: {plan.chips} chip{'s' * (plan.chips > 1)}"]
    for name, program in (("training step", plan.training), ("sampling", plan.sampler)):
        if program is not None:
            lines += [f"{name}, batch {program.batch_size}", *_lines(program)]
    if plan.chip_hours is not None:
        price = "" if plan.cost is None else f", {plan.cost:,.2f} at {plan.price:g} a chip-hour"
        lines.append(f"{plan.steps:,} steps take at least {plan.chip_hours:,.0f} chip-hours{price}")
    return "\n".join(lines)


def _lines(program: Measured) -> list[str]:
    memory, work = program.memory, program.work
    parts = memory.arguments | {"temporaries": memory.temporaries, "code": memory.code, "total": memory.total}
    verdict = "fits" if memory.fits else "does NOT fit"
    lines = ["  memory a device   " + ", ".join(f"{k} {_size(v)}" for k, v in parts.items() if v is not None)]
    lines[0] += "" if memory.limit is None else f", of {_size(memory.limit)}: {verdict}"
    lines[0] += " (the program's own code not counted: --code)" if work is not None and memory.code is None else ""
    if work is None:
        return lines
    lines.append(f"  work a device     {work.flops / 1e12:.4g} TFLOP, {_size(work.bytes)} to and from memory")
    lines += [
        f"  {kind:<18}{traffic.count:g} times, {_size(traffic.bytes)} a device"
        for kind, traffic in work.collectives.items()
    ]
    if work.unbounded:
        lines.append(f"  {work.unbounded} loop(s) of unknown length, counted as one turn each")
    if work.roofline is not None:
        best = work.roofline
        each = f"compute {_time(best.compute)}, memory {_time(best.memory)}, links {_time(best.links)}"
        lines.append(f"  at least          {_time(best.seconds)}, bound by {best.bound} ({each})")
        lines.append(f"  at most           {program.images_per_second:,.4g} images/s")
    return lines


def _size(count: Number) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**28 else f"{count / 2**20:.2f} MiB"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
