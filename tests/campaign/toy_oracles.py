"""Three oracles that cost next to nothing, and some that misbehave."""

import math
import time

from pymatgen.core import Structure

from mfal.oracles.types import Beforehand, Observation, Oracle

__all__ = ["broken", "prepared", "slow", "three"]


def _observe(value: float) -> Observation:
    return Observation(value, None, "ok", 0.0, {"method": "toy"})


def _volume(structures: list[Structure]) -> list[Observation]:
    return [_observe(s.volume / len(s)) for s in structures]


def _lithium(structures: list[Structure]) -> list[Observation]:
    return [_observe(s.composition.get_atomic_fraction("Li")) for s in structures]


def _distance(structures: list[Structure]) -> list[Observation]:
    """Mean over atoms of the nearest neighbour's distance: depends on where the atoms are."""
    found = []
    for structure in structures:
        table = structure.distance_matrix + 1e3 * (structure.distance_matrix < 1e-6)
        found.append(_observe(float(-table.min(axis=0).mean())))
    return found


def three() -> tuple[Oracle, ...]:
    """Of rising cost; the middle one prefers small values."""
    return (
        Oracle("lithium", "1", 0, 0.05, "share", True, (0.0, 1.0), _lithium),
        Oracle("volume", "1", 1, 0.2, "cubic angstrom", False, (1.0, 200.0), _volume),
        Oracle("distance", "1", 2, 1.0, "angstrom", True, (-20.0, 0.0), _distance),
    )


def _sleepy(structures: list[Structure]) -> list[Observation]:
    time.sleep(0.5)
    return _volume(structures)


def slow() -> Oracle:
    """One that takes its time."""
    return Oracle("sleepy", "1", 0, 1.0, "cubic angstrom", False, (1.0, 200.0), _sleepy)


_prepared: set[float] = set()


def _prepare(asked: list[tuple[Structure, str]]) -> list[float]:
    _prepared.update(structure.volume for structure, _ in asked)
    return [float(len(structure)) for structure, _ in asked]


def _after_preparation(structures: list[Structure]) -> list[Observation]:
    said = "toy, prepared" if all(s.volume in _prepared for s in structures) else "toy"
    return [each._replace(provenance={"method": said}) for each in _volume(structures)]


def prepared() -> Oracle:
    """One that has work done beforehand."""
    return Oracle(
        *("volume", "1", 0, 0.2, "cubic angstrom", False, (1.0, 200.0), _after_preparation),
        beforehand=Beforehand(_prepare, "terms"),
    )


def _raises(structures: list[Structure]) -> list[Observation]:
    raise RuntimeError("the wheels came off")


def _nan(structures: list[Structure]) -> list[Observation]:
    return [_observe(math.nan) for _ in structures]


def _short(structures: list[Structure]) -> list[Observation]:
    return []


def broken() -> tuple[Oracle, ...]:
    """One that raises, one that returns NaN, one that forgets to answer."""
    return tuple(
        Oracle(name, "1", i, 0.1, "share", True, (0.0, 1.0), evaluate)
        for i, (name, evaluate) in enumerate(
            (("raises", _raises), ("nan", _nan), ("short", _short))
        )
    )


def raises() -> tuple[Oracle, ...]:
    """A mistake of whoever wrote it."""
    return (three()[7],)


def no_oracle() -> dict[str, Oracle]:
    """Another one."""
    return {"lithium": three()[0]}


def twice() -> tuple[Oracle, ...]:
    """Two of one fidelity, which is an error of whoever wrote them."""
    return (three()[0], three()[0])
