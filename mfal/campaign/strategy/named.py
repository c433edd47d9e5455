"""Strategies by name, as `--strategy` and `--baseline` take them."""

from collections.abc import Callable
from dataclasses import replace

from mfal.campaign.config import STRATEGIES, CampaignConfig
from mfal.campaign.problem import Problem
from mfal.campaign.strategy.types import Strategy
from mfal.errors import MfalError
from mfal.references import import_reference

__all__ = ["named_strategy"]


def named_strategy(name: str, problem: Problem, config: CampaignConfig) -> Strategy:
    """The strategy of a name, or the one that a function of the user's makes.

    Args:
      name: one of `STRATEGIES`, or module:function, which takes the problem and the configuration.
      problem: what is searched.
      config: of the campaign.

    Raises:
      MfalError: where there is none of that name.
    """
    if ":" in name:
        made = import_reference(name, "strategy")(problem, config)
        if not isinstance(made, Strategy):
            raise MfalError(
                f"strategy {name}: {type(made).__name__} is no mfal.campaign.Strategy",
                "give a function of (problem, config) that returns one, by make_strategy for one",
            )
        return made
    if problem.environment is None and name in ("genetic", "substitution"):
        raise MfalError(
            f"strategy {name} makes crystals, and a pool holds what there is",
            "name another, or let crystals be generated beside the pool by --generate",
        )
    return _makers()[name](problem, config)


def _makers() -> dict[str, Callable[[Problem, CampaignConfig], Strategy]]:
    from mfal.campaign.strategy.baselines import funnel, only_target, random_search
    from mfal.campaign.strategy.evolving import genetic, substitution
    from mfal.campaign.strategy.informed import make_strategy
    from mfal.campaign.strategy.sampler import uniform_sampler

    def single(problem: Problem, config: CampaignConfig) -> Strategy:
        alone = problem._replace(oracles=problem.oracles[-1:])
        return only_target(problem, make_strategy(alone, replace(config, strategy="single")))

    def uniform(problem: Problem, config: CampaignConfig) -> Strategy:
        return make_strategy(problem, config, sampler=uniform_sampler)

    makers = (make_strategy, uniform, single, random_search, funnel, genetic, substitution)
    return dict(zip(STRATEGIES, makers, strict=True))
