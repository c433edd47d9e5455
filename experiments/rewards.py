"""What a crystal is worth: three oracles' answers, the proxies fitted to them, and the rewards.

Imported by `gflownet_rewards.py`, which says how the properties are defined.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pymatgen.analysis.phase_diagram import PhaseDiagram
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry

from mfal.campaign.config import SpaceConfig
from mfal.campaign.ledger.crystals import crystal_arrays, record_of
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.problem import make_spec
from mfal.campaign.workers.atoms import realise_record
from mfal.crystals.types import Crystal
from mfal.envs.crystal import crystal_environment, species_of, to_crystal
from mfal.envs.types import State
from mfal.errors import MfalError
from mfal.oracles import conductivity_oracle, sendek_oracle
from mfal.oracles.stability.energies import chemical_system
from mfal.oracles.stability.thermochemistry import measured_energies
from mfal.oracles.stability.window import stability_window
from mfal.proxies import EnsembleConfig, make_dataset, make_ensemble

__all__ = [
    "ENV",
    "PROPERTIES",
    "UNITS",
    "WORTH",
    "Proxies",
    "ask_all",
    "crystals_of",
    "distance",
    "fit",
    "log_weight",
    "records_of",
    "scores_of",
    "truths",
    "window",
]

PROPERTIES = ("sendek", "conductivity", "window")
UNITS = {"sendek": "probability", "conductivity": "log10 S/cm", "window": "V"}
SHARPNESS = 2.0
WORTH = 3.0  # spreads of the labels beyond which a proxy's mean counts no more

SPEC = make_spec(SpaceConfig(max_atoms=24))
ENV = crystal_environment(SPEC)
ENSEMBLE = make_ensemble(EnsembleConfig(1, members=8, steps=400))


# --- oracles --------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def window(formula: str) -> float | None:
    """Width of the window in V of a compound just on the hull; None where the tables lack phases.

    An upper bound: what lies above the hull has the window of what it decomposes to, and that is
    found here for both.
    """
    energies, composition = measured_energies(), Composition(formula)
    entries = chemical_system(energies, {"Li"} | {e.symbol for e in composition.elements})
    try:
        hull = PhaseDiagram(list(entries)).get_hull_energy(composition)
        found = stability_window(composition, energies, candidate=ComputedEntry(composition, hull))
    except (MfalError, ValueError):
        return None
    if found.oxidation is None or found.reduction is None:
        return None
    return float(np.clip(found.oxidation - found.reduction, 0.0, 7.0))


def ask(record: CrystalRecord, seed: int) -> dict[str, float | None]:
    """All three answers for one triple, None where there is none; "sound" is 1 with atoms."""
    answers: dict[str, float | None] = {"window": window(record.formula), "sound": 0.0}
    answers |= {"sendek": None, "conductivity": None}
    try:
        structures = realise_record(record, seed=seed, count=1)[0]
    except MfalError:
        return answers
    if structures:
        answers["sound"] = 1.0
        for oracle in (sendek_oracle(), conductivity_oracle()):
            got = oracle.evaluate(structures[:1])[0]
            if got.ok:
                answers[oracle.name] = float(np.clip(got.value, *oracle.bounds))
    return answers


def ask_all(records: list[CrystalRecord], seed: int) -> list[dict[str, float | None]]:
    """The answers for each."""
    return [ask(record, seed) for record in records]


# --- crystals -------------------------------------------------------------------------------------


def records_of(states: State, count: int) -> list[CrystalRecord]:
    """The first `count` terminal states as records."""
    crystals = jax.tree.map(np.asarray, crystals_of(states))
    host = jax.tree.map(np.asarray, states)
    found = []
    for i in range(count):
        one, crystal = jax.tree.map(lambda leaf, at=i: leaf[at], (host, crystals))
        found.append(record_of(crystal, species_of(SPEC, one), "sampled"))
    return found


crystals_of = jax.jit(jax.vmap(lambda state: to_crystal(SPEC, state)))


def distance(one: CrystalRecord, other: CrystalRecord) -> float:
    """Of two compositions as fractions of atoms: 0 equal, 1 no element shared."""
    a, b = (Composition(r.composition).fractional_composition for r in (one, other))
    return 0.5 * sum(abs(a[e] - b[e]) for e in {*a, *b})


# --- proxies --------------------------------------------------------------------------------------


class Proxies(NamedTuple):
    """One fitted ensemble for each property, with the scale of its labels."""

    states: dict[str, Any]
    middle: dict[str, float]
    spread: dict[str, float]


def fit(records: list[CrystalRecord], answers: list[dict[str, Any]], seed: int) -> Proxies:
    """The proxies of the answered labels."""
    states, middle, spread = {}, {}, {}
    for number, name in enumerate(PROPERTIES):
        rows = [i for i, answer in enumerate(answers) if answer[name] is not None]
        value = np.array([answers[i][name] for i in rows], np.float32)
        crystal = crystal_arrays([records[i] for i in rows])
        data = make_dataset(crystal, np.zeros(len(rows), int), value, capacity=256)
        key = jax.random.fold_in(jax.random.key(seed), number)
        states[name] = ENSEMBLE.fit(ENSEMBLE.init(key), data, jax.random.fold_in(key, 1))
        middle[name], spread[name] = float(value.mean()), float(value.std() + 1e-6)
    return Proxies(states, middle, spread)


def scores(proxies: Proxies, crystal: Crystal) -> dict[str, jax.Array]:
    """Each property's z of one crystal."""
    found = {}
    for name in PROPERTIES:
        mean = ENSEMBLE.posterior(proxies.states[name], crystal).mean[0]
        z = (mean - proxies.middle[name]) / proxies.spread[name]
        found[name] = jnp.clip(z, -WORTH, WORTH)
    return found


def log_weight(reward: str, proxies: Proxies, state: State) -> jax.Array:
    """SHARPNESS times z of the reward."""
    found = scores(proxies, to_crystal(SPEC, state))
    names = PROPERTIES if reward == "product" else (reward,)
    return SHARPNESS * sum((found[name] for name in names), jnp.zeros(()))


scores_of = jax.jit(jax.vmap(scores, (None, 0)))


def truths(reward: str, part: dict[str, Any], proxies: Proxies) -> list[float]:
    """The oracle's z of a reward, of those crystals where all of it is known."""
    names = PROPERTIES if reward == "product" else (reward,)
    found = []
    for answer in part["oracle"]:
        if all(answer[name] is not None for name in names):
            z = [(answer[n] - proxies.middle[n]) / proxies.spread[n] for n in names]
            found.append(float(sum(np.clip(z, -WORTH, WORTH))))
    return found
