"""Candidates that people have: where they come from, and which of them may be asked about."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.campaign.pool.candidates import Pool, shortlist
    from mfal.campaign.pool.opening import open_pool, prepare_pool

__all__ = ["Pool", "open_pool", "prepare_pool", "shortlist"]

__getattr__, __dir__ = lazily(
    __name__, {"candidates": "Pool shortlist", "opening": "open_pool prepare_pool"}
)
