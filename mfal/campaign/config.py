"""What a campaign is told: frozen dataclasses, each option with its help.

`campaign.options` makes them from TOML and flags.

A campaign's result is a function of its configuration and of nothing else, save the fields marked
as `execution`: those say where and how long queries run, and may differ from one start to the next.
With an `overlap` the order in which answers come bears on it too; that order is in the ledger.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from mfal.campaign.sections import (
    COMMON_ELEMENTS,
    COMMON_GROUPS,
    COMMON_MAX_ATOMS,
    ENSEMBLE,
    NO_DEVICE,
    WORKERS,
    ExecutionConfig,
    ProxyConfig,
    SamplerConfig,
    SpaceConfig,
    StabilityConfig,
    duration,
    option,
)
from mfal.durations import parse_duration
from mfal.errors import MfalError

__all__ = [
    "COMMON_ELEMENTS",
    "COMMON_GROUPS",
    "COMMON_MAX_ATOMS",
    "ENSEMBLE",
    "NONE",
    "NO_DEVICE",
    "STRATEGIES",
    "WORKERS",
    "CampaignConfig",
    "ExecutionConfig",
    "ProxyConfig",
    "SamplerConfig",
    "SpaceConfig",
    "StabilityConfig",
    "by_oracle",
]

STRATEGIES = ("learned", "uniform", "single", "random", "funnel", "genetic", "substitution")
"""Names of strategies: ours; ours with uniform draws in place of the sampler; ours with the target
oracle alone; and searches that learn nothing."""
NONE = "none"
"""Name of no baseline."""
DEFAULT_ORACLES = ("mfal.oracles:default_oracles",)


@dataclass(frozen=True)
class CampaignConfig:
    """A whole campaign."""

    budget: float = duration(
        420.0,
        "CPU time to spend in all, as 20m, 2h, 3d or a number of seconds: atoms, oracles and what"
        " the campaign itself computes, by their nominal prices",
    )
    ion: str = option("Li", "the ion that moves, by its symbol; another than Li needs a pool")
    seed: int = option(0, "seed of everything drawn at random")
    limits: tuple[str, ...] = option(
        (), "CPU time that single oracles may take of the budget, each as ORACLE=TIME"
    )
    rounds: int = option(5, "rounds of fit, train, sample, query")
    target: float | None = option(
        None, "value of the target oracle, in its unit, at which a proposal ends the campaign"
    )
    overlap: float = option(
        0.0,
        "share of a round's queries that may still be open when the next round is decided; 0 waits"
        " for all, above 0 slow queries don't hold up new ones",
    )
    initial: int = option(24, "known crystals queried at the start, at all fidelities")
    realisations: int = option(
        2, "atom arrangements per proposed crystal without atoms, those of lowest bond valence"
    )
    relax: bool = option(
        True,
        "relax each proposed crystal's arrangements by CHGNet, cell and positions, and ask oracles"
        " about the lowest in energy alone",
    )
    known: tuple[str, ...] = option(
        (),
        "tables of known crystals, which are no discoveries: .json or .csv files, folders of"
        " structures, obelix:FOLDER; the embedded ones always count",
    )
    hide: tuple[str, ...] = option(
        (),
        "formulas (Li6PS5Cl) of compounds to search for as if nobody knew them: none of their"
        " structures, energies or measured values is used or recognised",
    )
    finalists: int = option(
        3, "best new candidates whose vibrations are computed at the end, which nobody pays for"
    )
    pool: tuple[str, ...] = option(
        (),
        "where candidates are taken from: folders and files of structures, tables (.json, .csv),"
        " embedded, substituted, obelix:FOLDER, mp:QUERY, optimade:PROVIDER:FILTER (default:"
        " crystals are generated)",
    )
    generate: bool = option(False, "beside a pool, let generated crystals compete with the pool's")
    strategy: str = option(
        "learned",
        f"who decides what to ask: {', '.join(STRATEGIES)}, or module:function of a problem and a"
        " configuration",
    )
    baseline: str = option(
        "funnel",
        "strategy that runs beside it at equal CPU time, on an account of its own; none for none",
    )
    oracles: tuple[str, ...] = option(
        DEFAULT_ORACLES,
        "oracles as module:function, each returning an oracle or several, cheapest first",
    )
    space: SpaceConfig = field(default_factory=SpaceConfig)
    proxy: ProxyConfig = field(default_factory=ProxyConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    stability: StabilityConfig = field(default_factory=StabilityConfig)
    execution: ExecutionConfig = field(
        default_factory=ExecutionConfig, metadata={"execution": True}
    )

    def __post_init__(self) -> None:
        parse_duration("budget", self.budget)
        for path in ("rounds", "initial", "realisations"):
            _at_least(path, getattr(self, path), 1)
        _at_least("seed", self.seed, 0)
        _at_least("finalists", self.finalists, 0)
        if self.seed >= 2**32:
            raise MfalError(f"seed {self.seed}", "give a number below 2**32")
        for path, names in (("strategy", STRATEGIES), ("baseline", (*STRATEGIES, NONE))):
            name = getattr(self, path)
            if name not in names and ":" not in name:
                raise MfalError(
                    f"{path} {name!r}", f"give one of {', '.join(names)}, or module:function"
                )
        if not 0 <= self.overlap < 1:
            raise MfalError(f"overlap {self.overlap:g}", "give a share from 0 to below 1")
        if self.target is not None and not math.isfinite(self.target):
            raise MfalError(f"target {self.target:g}", "give a finite value of the target oracle")
        if self.hide:
            self._check_hidden()
        if self.ion != "Li":
            self._take_ion()
        if not self.oracles:
            raise MfalError("no oracles", "name at least one as module:function")
        by_oracle("limits", self.limits)
        by_oracle("execution.timeouts", self.execution.timeouts)
        if self.space.max_atoms is not None:
            _at_least("space.max_atoms", self.space.max_atoms, 1)
        for section in ("proxy", "sampler"):
            for item in fields(getattr(self, section)):
                value = getattr(getattr(self, section), item.name)
                if item.type in (int, "int"):
                    _at_least(f"{section}.{item.name}", value, 1)
        for name in ("learning_rate", "sharpness"):
            value = getattr(self.sampler, name)
            if not 0 < value < math.inf:
                raise MfalError(f"sampler.{name} {value:g}", "give a positive number")
        _check_proxy(self.proxy)
        _check_stability(self.stability)
        _at_least("execution.workers", self.execution.workers, 1)
        if self.execution.executor != "local" and self.execution.workers != 2:
            raise MfalError(
                f"execution.workers {self.execution.workers} with executor"
                f" {self.execution.executor}",
                "leave it out: workers are this machine's; the executor has its own",
            )
        if not re.fullmatch("[a-z]+", self.execution.device):
            raise MfalError(
                f"execution.device {self.execution.device!r}",
                f"give auto, {NO_DEVICE}, {WORKERS}, or a platform of JAX: cuda, rocm, tpu, cpu",
            )
        _at_least("execution.retries", self.execution.retries, 0)
        if self.execution.dynamics:
            parse_duration("execution.dynamics", self.execution.dynamics)
        for name in ("timeout", "memory", "hours"):
            value = getattr(self.execution, name)
            if value is not None and not value > 0:
                raise MfalError(f"execution.{name} {value:g}", "give a positive number")

    def _check_hidden(self) -> None:
        from mfal.crystals.formulas import formula_amounts

        for formula in self.hide:
            formula_amounts(formula)
        if self.pool:
            raise MfalError(
                f"hide {', '.join(self.hide)} with a pool, which is searched for what it holds",
                "take them out of the pool; --hide is for crystals that are generated",
            )

    def _take_ion(self) -> None:
        """Let oracles and restrictions that were not given be those of another ion."""
        if not self.pool or self.generate:
            raise MfalError(
                f"ion {self.ion} with generated crystals, which are modelled on lithium's",
                "give a --pool of structures that hold it",
            )
        if self.stability.mode == "objective" or self.stability.high > 0:
            raise MfalError(
                f"a stability window with ion {self.ion}",
                "leave stability.high and the mode objective out: it is against lithium metal",
            )
        own = (f"mfal.oracles.ions:{self.ion}",)
        if self.oracles not in (own, DEFAULT_ORACLES):
            raise MfalError(
                f"ion {self.ion} with oracles of your own", "let the function return oracles for it"
            )
        object.__setattr__(self, "oracles", own)
        if self.space.must_contain == SpaceConfig.must_contain:
            space = dataclasses.replace(self.space, must_contain=(self.ion,))
            object.__setattr__(self, "space", space)


def by_oracle(option: str, entries: Sequence[str]) -> dict[str, float]:
    """Entries such as "bvse=20m" as a mapping from oracle to seconds.

    Raises:
      MfalError: for an entry of another form, no amount of time, a name given twice.

    >>> by_oracle("limits", ["bvse=20m", "sendek=1.5"])
    {'bvse': 1200.0, 'sendek': 1.5}
    """
    found: dict[str, float] = {}
    for entry in entries:
        name, separator, text = entry.rpartition("=")
        if not (separator and name):
            raise MfalError(f"{option} {entry!r}", "write ORACLE=TIME, as bvse=20m")
        if name in found:
            raise MfalError(f"{option} names {name} twice", "give one time for each oracle")
        try:
            found[name] = parse_duration(option, text)
        except MfalError:
            raise MfalError(f"{option} {entry!r}", "write ORACLE=TIME, as bvse=20m") from None
    return found


def _check_proxy(proxy: ProxyConfig) -> None:
    if proxy.model == ENSEMBLE:
        return
    if ":" not in proxy.model:
        raise MfalError(f"proxy.model {proxy.model!r}", f"give {ENSEMBLE} or module:name")
    for name in ("members", "width", "steps"):
        if getattr(proxy, name) != getattr(ProxyConfig, name):
            what = f"proxy.{name} beside proxy.model {proxy.model}"
            raise MfalError(what, f"leave it out: it is the {ENSEMBLE}'s alone")


def _check_stability(stability: StabilityConfig) -> None:
    modes = ("off", "constraint", "objective")
    if stability.mode not in modes:
        raise MfalError(f"stability.mode {stability.mode!r}", f"give one of {', '.join(modes)}")
    if not 0 <= stability.unknown <= 1:
        raise MfalError(f"stability.unknown {stability.unknown:g}", "give a weight from 0 to 1")
    for name in ("low", "high", "max_hull_distance"):
        if not getattr(stability, name) >= 0:
            raise MfalError(
                f"stability.{name} {getattr(stability, name):g}", "give a number of 0 or more"
            )
    if not stability.energies:
        raise MfalError("no stability.energies", "name at least one source")
    if stability.mode == "off":
        for item in fields(stability):
            if item.name != "mode" and getattr(stability, item.name) != item.default:
                raise MfalError(
                    f"stability.{item.name} while stability.mode is off",
                    "add stability.mode constraint (--stability-mode constraint) or objective",
                )
    if stability.low > 0 and stability.high <= stability.low:
        raise MfalError(
            f"stability.low {stability.low:g} with stability.high {stability.high:g}",
            "give a stability.high above it: the window has to reach from one to the other",
        )
    asks = stability.high > stability.low or stability.max_hull_distance < float("inf")
    if stability.mode == "constraint" and not asks:
        raise MfalError(
            "stability.mode constraint without a requirement",
            "give stability.low and stability.high, or stability.max_hull_distance",
        )


def _at_least(path: str, value: int, least: int) -> None:
    if value < least:
        raise MfalError(f"{path} {value}", f"give {least} or more")
