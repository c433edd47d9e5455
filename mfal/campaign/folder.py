"""A campaign's folder: its ledger, its lock, its configuration."""

import re
import secrets
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mfal.campaign.config import ENSEMBLE, CampaignConfig
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.lock import exclusive
from mfal.campaign.options import describe_differences, from_mapping
from mfal.campaign.pool.store import POOL_NAME, pool_facts
from mfal.campaign.toml import to_toml
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

__all__ = [
    "BASELINE",
    "CAMPAIGN",
    "CONFIG_NAME",
    "FINALISTS",
    "HANDOFF",
    "LEDGER_NAME",
    "MOTION",
    "PRICES",
    "campaign_id",
    "open_campaign",
    "read_campaign",
    "stored_config",
    "why_outdated",
]

CAMPAIGN = "campaign"
"""The account that pays for initial data and proposals."""
BASELINE = "baseline"
"""The account of the strategy that runs beside it at equal cost."""
HANDOFF = "handoff"
"""The account of what was handed to people, DFT or the laboratory; charged to nobody."""
PRICES = "CPU seconds"
"""What the costs of a ledger are; those of earlier versions count in units of the target."""
FINALISTS = "finalists"
"""The account of the last questions, about the best candidates; charged to nobody."""
MOTION = "motion"
"""The account of the finalists' dynamics; charged to nobody."""
LEDGER_NAME = "ledger.sqlite"
CONFIG_NAME = "config.toml"


@contextmanager
def open_campaign(
    folder: Path, config: CampaignConfig, oracles: Sequence[Oracle]
) -> Iterator[Ledger]:
    """The ledger of a campaign folder, locked for writing; started where there is none.

    Raises:
      MfalError: where the folder can't be written, is in use, or holds a campaign of another
        configuration or with other oracles.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MfalError(
            f"{folder}: {error.strerror}", "give a folder that can be written with --out"
        ) from None
    facts, model = [_facts(oracle) for oracle in oracles], _own_model(config, len(oracles))
    with exclusive(folder), Ledger(folder / LEDGER_NAME) as ledger:
        if ledger.meta("config") is None:
            name = f"{_plain_name(folder)}-{secrets.token_hex(3)}"
            started = {"id": name, "config": tomllib.loads(to_toml(config)), "oracles": facts}
            started["prices"] = PRICES
            pool = {"pool": pool_facts(folder / POOL_NAME)._asdict()} if config.pool else {}
            ledger.start(started | ({"proxy": model} if model else {}) | pool)
        else:
            _check(folder, ledger, config, facts, model)
        _write_config(folder, config)
        yield ledger


@contextmanager
def read_campaign(folder: Path) -> Iterator[Ledger]:
    """The ledger of a campaign folder for reading, beside a writer or not.

    Raises:
      MfalError: where there is no campaign.
    """
    with Ledger(folder / LEDGER_NAME, readonly=True) as ledger:
        if ledger.meta("config") is None:
            raise MfalError(f"{folder}: the campaign has not begun", "run `mfal discover` on it")
        yield ledger


def campaign_id(folder: Path, ledger: Ledger) -> str:
    """What a campaign is called wherever its answers come back: the same after a new name.

    It is written when a campaign begins; in ledgers from before that it is the folder's name.
    """
    known: str | None = ledger.meta("id")
    return known or _plain_name(folder)


def _plain_name(folder: Path) -> str:
    """A folder's name as far as letters, digits and hyphens go."""
    return re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-")[:40] or "campaign"


def stored_config(ledger: Ledger) -> CampaignConfig:
    """The configuration that a campaign was started with.

    Raises:
      MfalError: where another version, with other options and prices, began it.
    """
    if text := why_outdated(ledger):
        raise MfalError(
            f"{ledger.path.parent}: {text}",
            "go on with the version of mfal that began it, or start another with --out",
        )
    config: CampaignConfig = from_mapping(ledger.meta("config"))
    return config


def why_outdated(ledger: Ledger) -> str:
    """Why this version can't go on with a campaign; empty where it can."""
    if ledger.meta("config") is not None and ledger.meta("prices") != PRICES:
        return "the campaign was begun by an earlier version, whose prices were not CPU seconds"
    return ""


def _check(
    folder: Path,
    ledger: Ledger,
    config: CampaignConfig,
    facts: list[dict[str, Any]],
    model: dict[str, str],
) -> None:
    differences = describe_differences(stored_config(ledger), config)
    if differences:
        raise MfalError(
            f"{folder} holds a campaign with another configuration ({'; '.join(differences)})",
            "use the same options to go on with it (the defaults of another version may differ: "
            f"--config {folder / 'config.toml'} holds its own), or another folder with --out",
        )
    for before, now in zip(ledger.meta("oracles"), facts, strict=False):
        for key in ("name", "version", "cost"):
            if before[key] != now[key]:
                raise MfalError(
                    f"{folder} was begun with oracle {before['name']} of {key} {before[key]},"
                    f" now it is {now[key]}",
                    "go on with the version of mfal that began it, or use another folder",
                )

    if model and (before := ledger.meta("proxy")) != model:
        raise MfalError(
            f"{folder} was begun with proxy {before['name']} {before['version']},"
            f" now it is {model['name']} {model['version']}",
            "go on with the model that began it, or use another folder",
        )

    if config.pool:
        begun = ledger.meta("pool")
        if pool_facts(folder / POOL_NAME).fingerprint != begun["fingerprint"]:
            raise MfalError(
                f"{folder / POOL_NAME} is not the pool that the campaign was begun with",
                "restore it from a copy of the folder",
            )


def _own_model(config: CampaignConfig, num_fidelities: int) -> dict[str, str]:
    """Name and version of a proxy of the user's own; nothing for mfal's."""
    if config.proxy.model == ENSEMBLE:
        return {}
    from mfal.campaign.strategy.proxy import load_proxy

    proxy = load_proxy(config.proxy.model, num_fidelities)
    return {"name": proxy.name, "version": proxy.version}


def _facts(oracle: Oracle) -> dict[str, Any]:
    return {
        "name": oracle.name,
        "version": oracle.version,
        "unit": oracle.unit,
        "cost": oracle.cost,
        "higher_is_better": oracle.higher_is_better,
        "bounds": list(oracle.bounds),
    }


def _write_config(folder: Path, config: CampaignConfig) -> None:
    path = folder / CONFIG_NAME
    try:
        path.write_text(to_toml(config), encoding="utf-8")
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "make the folder writable, or give another with --out"
        ) from None
