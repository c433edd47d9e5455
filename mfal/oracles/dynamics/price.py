"""What dynamics by CHGNet will cost, before they are run.

The time of a step follows the sizes of its neighbour tables. On one core, the other one busy too,
it was, in CPU milliseconds: 84 for Li3BrO (40 atoms; the tables have room for 3,072 angles and
1,824 pairs), 77 for LiYO2 (48; 2,304 and 2,048), 39 for Li3YCl6 (60; 896 and 1,504), 38 for
Li2CrCl4 (56; 768 and 1,344), 31 for Li2PS3 (36; 832 and 1,120), 24 for LiAl3Br4Cl6 (56; 384 and
832), 17 for LiGaBr4 (48; 192 and 736), 12 for LiZr2Br8Cl (24; 160 and 304), 10 for LiTiGeBr9 (24;
112 and 240). The line below is within a tenth of each.
"""

from typing import NamedTuple

import numpy as np

from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.running import hot_sizes, run_plan
from mfal.potentials.types import Potential

__all__ = ["RunPrice", "run_price"]

COMPILING = 14.0
"""CPU seconds until the first step, a program that no cache holds included: 11 to 14 there."""
_STEP, _ANGLE, _PAIR = 5e-3, 1.9e-5, 1.2e-5
"""CPU seconds of a step, and of each angle and pair that its tables have room for."""


class RunPrice(NamedTuple):
    """What the run of one cell takes."""

    step: float
    """CPU seconds of a step."""
    timestep: float
    """fs."""
    equilibration: int
    """Steps that count for nothing."""
    total: int
    """Steps of the whole run."""

    @property
    def length(self) -> float:
        """Ps that the whole run measures."""
        return 1e-3 * self.timestep * (self.total - self.equilibration)

    def seconds(self, done: float = 0.0) -> float:
        """CPU seconds of the whole run, or of what is left when so many ps have been measured."""
        return COMPILING + self.step * (self.total - self._steps(done))

    def bought(self, seconds: float, done: float = 0.0) -> float:
        """Ps that have been measured in so many more CPU seconds, in whole tenths.

        No more than the whole run.

        >>> RunPrice(0.02, 2.0, 500, 3000).bought(54.0)
        3.0
        """
        steps = self._steps(done) + max(0.0, seconds - COMPILING) / self.step
        measured = min(steps, self.total) - self.equilibration
        return max(0.0, float(np.floor(1e-2 * self.timestep * measured + 1e-6) / 10))

    def _steps(self, done: float) -> int:
        return self.equilibration + round(1e3 * done / self.timestep) if done else 0


def run_price(
    cell: tuple[np.ndarray, np.ndarray, np.ndarray],
    potential: Potential,
    options: DynamicsOptions,
) -> RunPrice:
    """Of a cell (positions [N, 3] Å, lattice [3, 3] Å, atomic numbers [N]) at one temperature."""
    plan = run_plan(cell[2], options)
    sizes = hot_sizes(potential, cell, options.temperatures[0], options.skin)
    step = _STEP + _ANGLE * sizes.angles + _PAIR * sizes.far
    return RunPrice(step, plan.timestep, plan.equilibration, plan.total)
