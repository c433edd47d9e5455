"""The loop that spends a budget and survives."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.campaign.config import (
        CampaignConfig,
        ExecutionConfig,
        ProxyConfig,
        SamplerConfig,
        SpaceConfig,
        StabilityConfig,
    )
    from mfal.campaign.folder import read_campaign
    from mfal.campaign.loop import run_campaign
    from mfal.campaign.problem import Problem, make_problem
    from mfal.campaign.status import read_status
    from mfal.campaign.strategy.informed import make_strategy
    from mfal.campaign.strategy.named import named_strategy
    from mfal.campaign.strategy.types import Decision, Round, Strategy

__all__ = [
    "CampaignConfig",
    "Decision",
    "ExecutionConfig",
    "Problem",
    "ProxyConfig",
    "Round",
    "SamplerConfig",
    "SpaceConfig",
    "StabilityConfig",
    "Strategy",
    "make_problem",
    "make_strategy",
    "named_strategy",
    "read_campaign",
    "read_status",
    "run_campaign",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "config": (
            "CampaignConfig ExecutionConfig ProxyConfig SamplerConfig SpaceConfig StabilityConfig"
        ),
        "folder": "read_campaign",
        "loop": "run_campaign",
        "problem": "Problem make_problem",
        "status": "read_status",
        "strategy.informed": "make_strategy",
        "strategy.named": "named_strategy",
        "strategy.types": "Decision Round Strategy",
    },
)
