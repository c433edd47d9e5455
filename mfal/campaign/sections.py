"""The sections of a campaign's configuration: its space, proxy, sampler, stability and execution.

Frozen dataclasses, each option with its help. What their values must obey is checked where they
come together, in `CampaignConfig`.
"""

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "COMMON_ELEMENTS",
    "COMMON_GROUPS",
    "COMMON_MAX_ATOMS",
    "ENSEMBLE",
    "NO_DEVICE",
    "WORKERS",
    "ExecutionConfig",
    "ProxyConfig",
    "SamplerConfig",
    "SpaceConfig",
    "StabilityConfig",
    "duration",
    "option",
]

ENSEMBLE = "ensemble"
"""Name of mfal's own proxy."""
NO_DEVICE, WORKERS = "none", "workers"
"""Values of the option `execution.device`, beside auto and a platform of JAX."""


def option(default: Any, text: str) -> Any:
    """A field with its help."""
    return field(default=default, metadata={"help": text})


def duration(default: float, text: str) -> Any:
    """An option in seconds that may be written as "20m", "2h" or "3d"."""
    return field(default=default, metadata={"help": text, "duration": True})


# fmt: off
COMMON_GROUPS = (
    14, 15, 31, 33, 36, 61, 62, 63, 82, 121, 122, 129, 136, 137, 139, 141, 148, 150, 161, 162,
    164, 166, 167, 185, 186, 191, 194, 205, 206, 215, 216, 217, 221, 225, 227, 230,
)
# fmt: on
"""Space groups in which the embedded table's lithium compounds are common, so that known crystals
can lend their atomic positions to candidates."""

COMMON_ELEMENTS = (
    *("Li", "B", "N", "O", "F", "Mg", "Al", "Si", "P", "S", "Cl", "Ti", "Ge", "Y", "Zr", "Br"),
)
"""Elements of generated crystals, where the configuration names none."""
COMMON_MAX_ATOMS = 36
"""Most atoms in the conventional cell of a generated crystal, where the configuration says none."""


@dataclass(frozen=True)
class SpaceConfig:
    """Which crystals may be proposed: generated ones, and those of a pool."""

    elements: tuple[str, ...] | None = option(
        None,
        "elements that a candidate may hold (default: in generated crystals, which always hold Li,"
        " the common ones; in a pool's, any)",
    )
    must_contain: tuple[str, ...] = option(("Li",), "elements that a candidate must hold")
    banned: tuple[str, ...] = option((), "elements that no candidate may hold")
    max_price: float | None = option(
        None,
        "USD a kilogram that no element of a candidate may cost more than, by a table of 2020;"
        " elements without a price are left out (default: any price)",
    )
    banned_toxicity: tuple[str, ...] = option(
        (), "classes of toxicity (1, 2A, 2B, 3 of ICH Q3D) whose elements no candidate may hold"
    )
    anions: tuple[str, ...] = option((), "the only anions that a candidate may have (default: any)")
    formula: tuple[str, ...] = option(
        (), "formulas (Li3PS4) or chemical systems (Li-P-S, Li-*-S), of which one must fit"
    )
    groups: tuple[int, ...] | None = option(
        None,
        "space group numbers that a candidate may have; an empty list in TOML allows all 230"
        " (default: in generated crystals the common ones, in a pool's any)",
    )
    max_atoms: int | None = option(
        None,
        f"most atoms in the conventional cell (default: {COMMON_MAX_ATOMS} in generated crystals,"
        " any number in a pool's)",
    )
    min_elements: int = option(2, "fewest distinct elements of a generated crystal, Li included")
    max_elements: int = option(4, "most distinct elements of a generated crystal, Li included")
    min_atoms: int = option(4, "fewest atoms in the conventional cell of a generated crystal")
    min_length: float = option(2.6, "shortest edge of a generated cell in Å")
    max_length: float = option(20.0, "longest edge of a generated cell in Å")
    max_aspect: float = option(4.0, "greatest ratio of two edges of a generated cell")
    min_angle: float = option(60.0, "smallest angle of a generated cell in degrees")
    max_angle: float = option(120.0, "largest angle of a generated cell in degrees")
    min_packing: float = option(1.2, "least volume of a generated cell over that of its ions")
    max_packing: float = option(1.9, "greatest volume of a generated cell over that of its ions")


@dataclass(frozen=True)
class ProxyConfig:
    """What predicts an oracle's answer."""

    model: str = option(
        ENSEMBLE,
        "ensemble, or a model of your own as module:name, a mfal.proxies.Proxy or a function that"
        " makes one for a number of fidelities",
    )
    members: int = option(8, "networks in the ensemble")
    width: int = option(64, "hidden units per layer of the ensemble")
    steps: int = option(400, "optimiser steps of a fit of the ensemble")
    capacity: int = option(512, "most observations that a fit sees, the newest first")


@dataclass(frozen=True)
class SamplerConfig:
    """The GFlowNet that proposes candidates."""

    steps: int = option(300, "training steps per round")
    batch: int = option(32, "trajectories per training step")
    width: int = option(128, "hidden units per layer of the policy")
    samples: int = option(512, "candidates drawn per round, from which the batch is chosen")
    learning_rate: float = option(1e-3, "step size of Adam")
    sharpness: float = option(
        2.0, "power of the reward: 2 means that twice the worth is drawn four times as often"
    )


@dataclass(frozen=True)
class StabilityConfig:
    """What electrodes ask of a candidate, and how that bears on the search."""

    mode: str = option(
        "constraint",
        "off; constraint: only what may meet the requirement is asked for its promise; objective:"
        " the width of the stability window counts beside the target oracle's value",
    )
    low: float = option(0.0, "V against lithium to which the window must reach down")
    high: float = option(
        0.0, "V against lithium to which it must reach up; no more than low asks nothing"
    )
    max_hull_distance: float = option(
        0.1, "eV per atom above the convex hull, at most; inf asks nothing"
    )
    unknown: float = option(
        0.5,
        "weight from 0 to 1 of candidates of which it isn't known whether they meet the"
        " requirement; 0 leaves them out",
    )
    energies: tuple[str, ...] = option(
        ("measured", "computed", "potential"),
        "sources of energies, the most trusted first: measured, computed, potential, FILE.csv (of"
        " `mfal data phases`), FILE.json, or exhaustive:FILE for one that holds every compound of"
        " its elements",
    )


@dataclass(frozen=True)
class ExecutionConfig:
    """Where and how long queries run; no answer depends on it but for a device's rounding."""

    executor: str = option(
        "local",
        "who runs the queries: local, dask://HOST[:PORT], parsl:FILE (Python that sets `config`),"
        " or module:function returning a concurrent.futures.Executor",
    )
    workers: int = option(2, "worker processes on this machine")
    device: str = option(
        "auto",
        "who relaxes and simulates candidates: auto (a GPU where JAX computes on one, else the"
        " workers), none (the workers, on their CPUs), a platform of JAX (cuda, rocm, tpu, cpu),"
        " or workers: each sees what JAX finds",
    )
    timeout: float = option(600.0, "seconds that one query may take before it is stopped")
    timeouts: tuple[str, ...] = option(
        (), "seconds for the queries of single oracles instead, each as ORACLE=SECONDS"
    )
    retries: int = option(1, "how often a query is tried again after a crash or a stop")
    memory: float = option(4.0, "GiB that one worker may hold before it is stopped")
    dynamics: float = duration(
        60.0,
        "time, as 10m or in seconds, that molecular dynamics of the finalists may take at the end;"
        " with more a campaign that has ended goes on with them; 0 for none",
    )
    hours: float | None = option(
        None, "hours after which no more queries go out; the same command goes on"
    )
