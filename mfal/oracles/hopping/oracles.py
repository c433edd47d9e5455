"""The two oracles that a hop network answers: its exact solution, and kinetic Monte Carlo on it."""

import math
from typing import TYPE_CHECKING, Any

from mfal.numbers import finite_or_none, number_or_text
from mfal.oracles.answering import answer_each
from mfal.oracles.bond_valence.maps import DEFAULT_MAP, Estimate, MapOptions, averaged
from mfal.oracles.hopping.sites import LEAST_VACANCY, site_network
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["conductivity_oracle", "kmc_oracle"]

CONDUCTIVITY_COST = 0.045
"""CPU seconds of one evaluation, the median over candidates (`experiments/oracle_prices.py`)."""
KMC_COST = 0.8
"""CPU seconds, the median over OBELiX' ordered crystals in `experiments/hop_network.py`; partly
occupied frameworks take three times as long."""

KMC_MAP = MapOptions(decorations=3)


def conductivity_oracle(
    options: MapOptions = DEFAULT_MAP,
    temperature: float = 300.0,
    exclusion: bool = True,
) -> Oracle:
    """log10 of the conductivity in S/cm from the exact solution of the hop network.

    The value is that of the slowest direction (`slowest_axis`): there ions have to cross every
    barrier, as in the 3-D barrier, whose rank it then shares. A dense powder's average, which
    two fast directions can carry, ranks ordered crystals worse (`experiments/hop_network.py`); the
    record holds it as `log10_powder`.

    A hop network stands for rare hops between sites that hold one ion each. So minima that are
    less than `LOCALISED` deep belong to their neighbours, ions exclude each other from sites, and
    no hop is faster than nu0 exp(-LOCALISED); where ions run through the crystal in two or three
    dimensions over less than that, there are no sites, and the oracle fails and says so. A map
    without barriers mostly means that the framework is too open to be stable, not that it conducts.

    The grid is fine by default, as all sites and saddles count here, and exponentially: log10 sigma
    at 300 K moves by 0.2 to 0.3 between grid origins at 0.3 Å, by up to 0.2 at 0.15 Å, and by 0.03
    at 0.1 Å (`experiments/benchmarks/oracles.py` prints the table).

    Args:
      options: of the energy map.
      temperature: K.
      exclusion: whether ions exclude each other from sites, see `mfal.oracles.hopping.network`;
        without it they pass through each other, and a full sublattice conducts like an empty one.
    """

    def network_answer(structure: "Structure") -> Estimate:
        from mfal.oracles.hopping.conductivity import conductivity, slowest_axis
        from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY

        network, count, provenance = site_network(structure, options, temperature)
        result = conductivity(network, count, temperature, exclusion, least_vacancy=LEAST_VACANCY)
        if exclusion:
            _tell_of_vacancies(provenance)
        provenance |= {
            "method": "hop network of bond-valence site energies, Nernst-Einstein",
            "temperature": temperature,
            "attempt_frequency": ATTEMPT_FREQUENCY,
            "exclusion": exclusion,
            "least_vacancy": LEAST_VACANCY if exclusion else None,
            "activation_energy": number_or_text(result.activation_energy),
            "log10_mean": number_or_text(result.log10_mean),
            "log10_powder": number_or_text(result.log10_powder),
            "principal": [float(x) for x in result.principal],
        }
        slowest = slowest_axis(result.principal)
        value = math.log10(slowest) if slowest > 0 else -math.inf
        return Estimate(value, None, provenance)

    def answer(structure: "Structure") -> Estimate:
        return averaged(network_answer, structure, options)

    name = "conductivity"
    version = f"3-{options.tag()}-{temperature:g}" + ("" if exclusion else "-free")
    return Oracle(
        name=name,
        version=version,
        fidelity=2,
        cost=CONDUCTIVITY_COST,
        unit="log10 S/cm",
        higher_is_better=True,
        bounds=(-20.0, 1.0),
        evaluate=answer_each(answer, name, version),
    )


def kmc_oracle(
    options: MapOptions = KMC_MAP,
    temperature: float = 300.0,
    repulsion: bool = True,
    attempts: int = 4_000_000,
    seed: int = 0,
) -> Oracle:
    """log10 of the conductivity in S/cm by kinetic Monte Carlo on the hop network.

    The value is that of the slowest direction (`slowest_axis`); the record holds the diffusion of
    tracers and of charge in the mean over directions, with Haven's ratio. The sites are those of
    `conductivity_oracle`. Ions exclude each other from them, and repel each
    other by the screened Coulomb term of the force field that the site energies come from
    (`mfal.oracles.hopping.kmc_lattice.ion_repulsion`); what correlated hops and crowding do is
    simulated, not averaged away. The uncertainty is the statistical error, or, over decorations of
    a partly occupied framework, their spread and the error in quadrature.

    Answers are the same for the same seed, and the time is bounded by the attempts, some ten
    seconds at the most for each decoration.

    Args:
      options: of the energy map.
      temperature: K, any; `mfal.oracles.hopping.simulated` says how cold ones are reached.
      repulsion: whether ions repel each other beyond one ion a site.
      attempts: at each of up to `FITTED` temperatures that count.
      seed: of the simulations.
    """

    def simulated(structure: "Structure") -> Estimate:
        from mfal.oracles.hopping.kmc_lattice import ion_repulsion
        from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY
        from mfal.oracles.hopping.simulated import KmcOptions, kmc_conductivity

        network, count, provenance = site_network(structure, options, temperature)
        repel = ion_repulsion(options.mobile, options.mobile_charge) if repulsion else None
        found = kmc_conductivity(
            network, count, temperature, repel,
            LEAST_VACANCY, KmcOptions(attempts=attempts, seed=seed),
        )  # fmt: skip
        _tell_of_vacancies(provenance)
        if found.temperatures and found.temperatures[0] != temperature:
            hot = ", ".join(f"{kelvin:g}" for kelvin in found.temperatures)
            provenance["warnings"].append(f"extrapolated from {hot} K")
        provenance |= {
            "method": "kinetic Monte Carlo on bond-valence sites, Nernst-Einstein",
            "temperature": temperature,
            "attempt_frequency": ATTEMPT_FREQUENCY,
            "repulsion": repulsion,
            "least_vacancy": LEAST_VACANCY,
            "seed": seed,
            "ions_simulated": found.ions,
            "sites_simulated": found.sites,
            "simulated": [
                {
                    "temperature": kelvin,
                    "log10_over_network": ratio,
                    "tracer_cm2_per_s": [x * 1e-16 for x in result.tracer_mean],
                    "charge_cm2_per_s": [x * 1e-16 for x in result.collective_mean],
                    "haven_ratio": [finite_or_none(x) for x in result.haven_ratio],
                    "hops": result.hops,
                }
                for kelvin, ratio, result in zip(
                    found.temperatures, found.log10_ratio, found.results, strict=True
                )
            ],
        }
        return Estimate(found.log10, found.error, provenance)

    def answer(structure: "Structure") -> Estimate:
        return averaged(simulated, structure, options)

    name = "kmc"
    version = f"2-{options.tag()}-{temperature:g}-{attempts:.0e}-{seed}"
    version += "" if repulsion else "-free"
    return Oracle(
        name=name,
        version=version,
        fidelity=3,
        cost=KMC_COST,
        unit="log10 S/cm",
        higher_is_better=True,
        bounds=(-20.0, 1.0),
        evaluate=answer_each(answer, name, version),
    )


def _tell_of_vacancies(provenance: dict[str, Any]) -> None:
    count, sites = provenance["mobile_ions"], provenance["sites"]
    if count > (1.0 - LEAST_VACANCY) * sites:
        provenance["warnings"].append(
            f"{count:g} ions for {sites} sites: {LEAST_VACANCY:.0%} taken to be empty"
        )
