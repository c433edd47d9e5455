"""What a question and a decision cost beforehand: nominal CPU seconds on the reference machine.

Prices are figures written down, so that a decision never depends on how busy a machine is. What it
really took stands beside each answer and each decision. Those of oracles and of finding atoms are
medians of `experiments/oracle_prices.py`.
"""

from mfal.oracles.types import Oracle

__all__ = ["ATOMS_COST", "FIT_COST", "RELAXATION_COST", "TRAINING_COST", "price"]

ATOMS_COST = 2.0
"""CPU seconds of looking for the atoms of a proposed crystal, whether they are found or not."""
RELAXATION_COST = 3.0
"""CPU seconds of relaxing one arrangement of atoms by CHGNet, found or given: an estimate, between
1 to 2 for most cells and 20 for the largest. It may be high: the 44 questions of a default campaign
(seed 0), some of them about atoms found before, took 2.2 s in the mean, where a first one is priced
at 8."""
FIT_COST = 1.5
"""CPU seconds of one fit of the default proxy: with two fits and `TRAINING_COST` 10 for a decision.
Five of them and the last fit took 47 CPU seconds in each of three default campaigns on a loaded
machine (seeds 22 to 24), programs loaded from a cache; 120 in two that compiled them."""
TRAINING_COST = 7.0
"""CPU seconds of training the default sampler for a round and drawing from it."""


def price(
    oracle: Oracle, structures: int, *, atoms_known: bool = False, relax: bool = False
) -> float:
    """CPU seconds of asking an oracle about one crystal.

    Args:
      oracle: with its price of one structure.
      structures: arrangements of atoms.
      atoms_known: whether they need not be looked for.
      relax: whether they are to be relaxed, and the oracle asked about the lowest alone; else it is
        asked about each.
    """
    looking = 0.0 if atoms_known else ATOMS_COST
    if relax:
        return oracle.cost + looking + RELAXATION_COST * structures
    return oracle.cost * structures + looking
