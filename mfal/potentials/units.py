"""Units of dynamics: eV, Å, fs, u, K, and what turns one into another.

Velocities are in Å/fs. The constants are those of CODATA 2022 (P. J. Mohr et al., Rev. Mod. Phys.
97, 025002 (2025), doi:10.1103/RevModPhys.97.025002), computed from

    elementary charge           1.602176634e-19 C      (exact)
    Boltzmann constant          1.380649e-23 J/K       (exact)
    atomic mass constant        1.66053906892e-27 kg
"""

__all__ = ["ACCELERATION", "BOLTZMANN"]

BOLTZMANN = 1.380649e-23 / 1.602176634e-19
"""eV/K."""

ACCELERATION = 1.602176634e-19 / (1e-10 * 1.66053906892e-27) * 1e-20
"""Å/fs² by which one eV/Å accelerates one u: 0.00964853. A kinetic energy of one u Å²/fs² is its
reciprocal in eV."""
