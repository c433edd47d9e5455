"""The pool of a campaign's folder: made when the campaign begins, opened when it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfal.campaign.config import CampaignConfig
from mfal.campaign.pool.candidates import Pool
from mfal.campaign.pool.sources import GIVEN, materials_of, read_source
from mfal.campaign.pool.store import POOL_NAME, PoolFacts, write_pool
from mfal.errors import MfalError

__all__ = ["open_pool", "prepare_pool"]


def prepare_pool(
    folder: Path,
    config: CampaignConfig,
    given: Any = None,
    report: Callable[[str], None] = lambda text: None,
) -> PoolFacts:
    """Read a configuration's sources into a folder.

    Args:
      folder: of the campaign, made where it is missing.
      config: names the sources and the restrictions.
      given: a `MaterialTable`, a pandas data frame or structures, for the source "given".
      report: called with a sentence from time to time.

    Raises:
      MfalError: where a source can't be read, or no candidate is left.
    """
    sources = []
    for reference in config.pool:
        if reference == GIVEN:
            if given is None:
                raise MfalError(
                    "pool 'given' without a table", "hand one over: run_campaign(..., pool=TABLE)"
                )
            sources.append((reference, materials_of(given)))
        else:
            sources.append((reference, read_source(reference)))
    return write_pool(folder / POOL_NAME, sources, config.space, report)


def open_pool(folder: Path) -> Pool:
    """The candidates of a campaign that has begun.

    Raises:
      MfalError: where the folder holds none.
    """
    return Pool(folder / POOL_NAME)
