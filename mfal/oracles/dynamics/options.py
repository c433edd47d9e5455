"""How crystals are simulated."""

from dataclasses import dataclass

from mfal.errors import MfalError

__all__ = ["DynamicsOptions"]

LEAST = 5.0
"""ps; a shorter run hardly has lags between rattling and half of its length."""


@dataclass(frozen=True)
class DynamicsOptions:
    """Protocol of the simulations. Checked where it is made."""

    temperatures: tuple[float, ...] = (700.0,)
    """K. With one the answer is the conductivity there, which ranks; with three or more it is
    extrapolated by Arrhenius' law to `target`. At 700 K insulators rest and the fast still hop; at
    1000 K halides and thioantimonates melt and poor conductors move (docs/oracles.md)."""
    target: float = 300.0
    """K, which several temperatures are extrapolated to."""
    length: float = 10.0
    """ps, the most that is measured at each temperature."""
    ion_time: float = 120.0
    """ps times mobile ions that suffice: cells with many ions see as many hops in less time, but
    are never measured for less than `LEAST` ps. A coefficient of 1.3e-5 cm²/s then shows ten hops,
    and a cell of 40 atoms takes at most five CPU minutes, also in dense crystals."""
    equilibration: float = 1.0
    """ps before, under a thermostat of 0.01/fs."""
    timestep: float = 2.0
    """fs; less where there is hydrogen, by the root of its mass over lithium's."""
    friction: float = 0.002
    """1/fs, of the Langevin thermostat while it is measured: half a picosecond, much slower than
    vibrations."""
    skin: float = 0.15
    """Å, of the neighbour tables, which then hold for two steps. A wider skin costs more angles
    than it saves tables: a step of Li3OBr takes 94 ms at 0.3 Å and 83 at this."""
    every: int = 10
    """Steps between the moments that are kept."""
    width: float = 8.0
    """Å, of which no width of the supercell falls short."""
    relax: bool = True
    """Whether the crystal is relaxed first, cell and positions in its space group."""
    decorations: int = 3
    """Ordered cells that a partly occupied crystal is simulated as."""
    drawn: int = 12
    """Decorations drawn, of which those of lowest energy are simulated."""
    seed: int = 0
    """Of velocities, noise and decorations."""
    mobile: str = "Li"
    """Symbol of the ion that moves."""
    charge: int = 1
    """Its charge, e."""

    def __post_init__(self) -> None:
        numbers = [self.length, self.ion_time, self.timestep, self.friction, self.width]
        numbers += [self.skin, *self.temperatures]
        if not (all(x > 0 for x in numbers) and self.equilibration >= 0 and self.every >= 1):
            raise MfalError(f"dynamics with {self}", "give positive numbers")
        if len(set(self.temperatures)) not in (1, *range(3, 20)):
            raise MfalError(
                f"dynamics at {len(set(self.temperatures))} temperatures",
                "give one, for ranking, or three or more for Arrhenius' law",
            )
        if not 1 <= self.decorations <= self.drawn:
            raise MfalError(
                f"{self.decorations} decorations out of {self.drawn}", "draw as many as are used"
            )
        if self.length * 1e3 < 40 * self.every * self.timestep:
            raise MfalError(f"a run of {self.length:g} ps", "simulate for longer")

    def measured(self, ions: int) -> float:
        """Ps that a cell with so many mobile ions is measured for."""
        return min(self.length, max(LEAST, self.ion_time / ions))

    @property
    def several(self) -> bool:
        """Whether the answer is extrapolated."""
        return len(self.temperatures) > 1

    def tag(self) -> str:
        """What of these options may change a value, for an oracle's version."""
        kelvin = "+".join(f"{t:g}" for t in self.temperatures)
        kelvin += f"to{self.target:g}" if self.several else ""
        parts = [self.mobile, f"{kelvin}K", f"{self.length:g}ps"]
        default = DynamicsOptions()
        names = ["ion_time", "equilibration", "timestep", "friction", "skin", "every", "width"]
        names += ["relax", "decorations", "drawn", "seed", "charge"]
        parts += [
            f"{name}{getattr(self, name):g}"
            for name in names
            if getattr(self, name) != getattr(default, name)
        ]
        return "-".join(parts)
