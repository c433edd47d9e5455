"""One measurement of `scale.py`, in a process of its own: its JSON is the last line printed.

python experiments/scale_measurement.py AXIS SIZE REPEATS
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

BATCH, STEPS = 128, 20  # of a timed training run
CHUNK = 8192  # crystals scored at a time
PATIENCE = 20.0  # seconds that repeated runs of one size may take
METALS = (
    *("Na", "K", "Mg", "Ca", "Sr", "Ba", "Al", "Ga", "In", "Sc", "Y", "La", "Ti", "Zr", "Hf"),
    *("Nb", "Ta", "Si", "Ge", "Sn", "B", "P", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
    *("Mo", "W", "Cd", "Ag", "Rb", "Cs", "Bi", "Pb", "Ce", "Nd", "Sm", "Gd", "Er", "Yb", "Lu"),
)
ANIONS = ("O", "S", "F", "Cl", "Br", "N", "I", "Se")


def repeated(run: Callable[[], Any], repeats: int) -> list[float]:
    """Wall seconds of each of several runs, one more before them for the compiler.

    Of long runs fewer: none is begun after `PATIENCE` seconds, but for the second.
    """
    run()
    found: list[float] = []
    while len(found) < min(repeats, 2) or (len(found) < repeats and sum(found) < PATIENCE):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


def spec_of(elements: int, atoms: int) -> Any:
    """Limits with so many elements (lithium and an eighth of anions among them) and atoms."""
    from mfal.campaign.config import SpaceConfig
    from mfal.campaign.problem import make_spec

    anions = max(1, elements // 8)
    chosen = ("Li", *ANIONS[:anions], *METALS[: elements - 1 - anions])
    return make_spec(SpaceConfig(elements=chosen, max_atoms=atoms))


def training(repeats: int, batch: int, elements: int, atoms: int, devices: int) -> dict[str, Any]:
    """Seconds of a training step."""
    import jax

    from mfal.envs.crystal import crystal_environment
    from mfal.envs.random import log_density
    from mfal.gflownet.policy import PolicyConfig
    from mfal.gflownet.train import TrainConfig, make_trainer

    env = crystal_environment(spec_of(elements, atoms))
    trainer = make_trainer(
        env,
        lambda _, state: log_density(env, state),
        TrainConfig(
            batch_size=batch, policy=PolicyConfig(hidden=(128, 128)), steps_per_dispatch=STEPS
        ),
        mesh=jax.make_mesh((devices,), ("batch",)) if devices > 1 else None,
    )
    state = [trainer.init(jax.random.key(0))]

    def run() -> None:
        state[0], metrics = trainer.run(state[0], None, STEPS)
        jax.block_until_ready(metrics.loss)

    return {"": [seconds / STEPS for seconds in repeated(run, repeats)]}


def dataset(rows: int, levels: int, seed: int = 0) -> tuple[Any, Any]:
    """Random crystals with random answers; the space that they come from."""
    import jax

    from mfal.envs.crystal import crystal_environment, to_crystal
    from mfal.envs.random import sample_uniformly
    from mfal.proxies import make_dataset

    spec = spec_of(16, 36)
    env = crystal_environment(spec)
    states = jax.jit(lambda key: sample_uniformly(env, key, rows))(jax.random.key(seed))
    crystal = jax.jit(jax.vmap(lambda state: to_crystal(spec, state)))(states)
    rng = np.random.default_rng(seed)
    data = make_dataset(crystal, np.arange(rows) % levels, rng.normal(size=rows))
    return data, spec


def pool(repeats: int, size: int) -> dict[str, Any]:
    """Seconds to draw one crystal and to score a pool of them; once for the largest."""
    import jax
    import jax.numpy as jnp

    from mfal.envs.crystal import crystal_environment, to_crystal
    from mfal.envs.random import sample_uniformly
    from mfal.proxies import EnsembleConfig, make_ensemble

    data, spec = dataset(256, 3)
    env = crystal_environment(spec)
    model = make_ensemble(EnsembleConfig(3, members=8))
    state = model.fit(model.init(jax.random.key(0)), data, jax.random.key(1))

    @jax.jit
    def draw(key: jax.Array) -> Any:
        return jax.vmap(lambda s: to_crystal(spec, s))(sample_uniformly(env, key, CHUNK))

    @jax.jit
    def score(crystal: Any) -> jax.Array:
        belief = jax.vmap(model.posterior, in_axes=(None, 0))(state, crystal)
        return jax.lax.top_k(belief.mean[:, -1], 16)[0]

    # Drawing takes as long for each crystal, however many; so a few chunks tell.
    chunks = [jax.block_until_ready(draw(jax.random.key(0)))]
    jax.block_until_ready(score(chunks[0]))
    found: dict[str, list[float]] = {"drawing one": [], "scoring": []}
    for repeat in range(repeats):
        start = time.perf_counter()
        chunks.append(jax.block_until_ready(draw(jax.random.key(1 + repeat))))
        found["drawing one"].append((time.perf_counter() - start) / CHUNK)
    number = -(-size // CHUNK)
    for repeat in range(repeats if size < 300_000 else 1):
        best = jnp.full(16, -jnp.inf)
        start = time.perf_counter()
        for k in range(number):
            crystal = chunks[k % len(chunks)]
            # Other cells for each chunk, so that no compound is scored twice.
            stretch = 1 + 1e-4 * (k + repeat * number)
            cells = crystal.lattice.at[:, :3].multiply(stretch)
            best = jax.lax.top_k(
                jnp.concatenate([best, score(crystal._replace(lattice=cells))]), 16
            )[0]
        jax.block_until_ready(best)
        # The last chunk is whole: brought down to what was asked for.
        found["scoring"].append((time.perf_counter() - start) * size / (CHUNK * number))
    return found


def fitting(repeats: int, rows: int, exact: bool) -> dict[str, Any]:
    """Seconds of a fit of the ensemble or of the exact process."""
    import jax

    from mfal.proxies import EnsembleConfig, GPConfig, make_ensemble, make_gaussian_process

    data, _ = dataset(rows, 3)
    if exact:
        process = make_gaussian_process(GPConfig(3, relevance=False, steps=40))
        return {"": repeated(lambda: jax.block_until_ready(process.fit(data)), repeats)}
    model = make_ensemble(EnsembleConfig(3, members=8, steps=400))
    start = model.init(jax.random.key(0))
    fit = partial(model.fit, start, data)
    return {"": repeated(lambda: jax.block_until_ready(fit(jax.random.key(1))), repeats)}


def ledger(repeats: int, size: int) -> dict[str, Any]:
    """Seconds of what a ledger of `size` observations is asked for."""
    from mfal.campaign.config import CampaignConfig
    from mfal.campaign.folder import CAMPAIGN, open_campaign
    from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal
    from mfal.campaign.status import read_status
    from mfal.oracles import default_oracles

    target = default_oracles()[-1]
    states = {"Li": 1.0, "F": -1.0}

    def proposal(number: int) -> Proposal:
        cell = (4.0 + 1e-5 * number, 4.0, 4.0, 90.0, 90.0, 90.0)
        crystal = CrystalRecord(
            f"c{number}", "LiF", {"Li": 1, "F": 1}, 225, cell, states, "sampled"
        )
        return Proposal(crystal, target.fidelity, target.name, target.version, 1e-6, 1, {})

    found: dict[str, list[float]] = {}
    config = CampaignConfig(budget=10.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_campaign(Path(folder), config, default_oracles()) as book,
    ):
        start = time.perf_counter()
        book.propose(CAMPAIGN, 0, [proposal(n) for n in range(size)], {})
        found["proposing"] = [time.perf_counter() - start]
        waiting = book.pending(CAMPAIGN)
        # Each answer is a transaction that waits for the disk; not so those beyond a few hundred,
        # whose number is what counts here.
        book.connection.execute("PRAGMA synchronous = OFF")
        for query in waiting[300:]:
            book.conclude(query, Outcome(1e-4 * (query.id % 9973), None, "ok", 0.0, {}))
        book.connection.execute("PRAGMA synchronous = FULL")
        times = []
        for query in waiting[:300]:
            start = time.perf_counter()
            book.conclude(query, Outcome(0.5, None, "ok", 0.0, {}))
            times.append(time.perf_counter() - start)
        found["answering"] = [float(np.median(part)) for part in np.array_split(times, repeats)]
        found["status"] = repeated(lambda: read_status(book), repeats)
        found["reading 512"] = repeated(lambda: book.answers(CAMPAIGN, limit=512), repeats)
    return found


def irregular(times: int) -> "Structure":
    """Li3PO4, its cell multiplied, without symmetry that would help: the atoms are displaced."""
    from mfal.data import load_embedded

    table = load_embedded()
    number = next(
        i
        for i, formula in enumerate(table.formulas)
        if formula == "Li3PO4" and table.has_structure[i]
    )
    structure = table.structure(number)
    assert structure is not None
    return structure.copy().make_supercell((times, 1, 1)).perturb(0.02, seed=0)


def oracle(repeats: int, times: int) -> dict[str, Any]:
    """Seconds of the oracles on one structure."""
    from mfal.oracles import bvse_oracle, conductivity_oracle

    large = irregular(times)
    found: dict[str, Any] = {"atoms": len(large)}
    for asked in (bvse_oracle(), conductivity_oracle()):
        found[asked.name] = repeated(partial(asked.evaluate, [large]), min(repeats, 3))
    return found


def dynamics(repeats: int, times: int) -> dict[str, Any]:
    """Seconds of one step of molecular dynamics, of ten at once after a hundred."""
    import jax

    from mfal.oracles.dynamics import DynamicsOptions
    from mfal.potentials import chgnet_potential, langevin, run_dynamics, start_dynamics

    options, steps = DynamicsOptions(), 10
    large = irregular(times)
    crystal = (
        np.asarray(large.cart_coords),
        np.asarray(large.lattice.matrix),
        np.asarray(large.atomic_numbers),
    )
    masses = np.array([float(site.specie.atomic_mass) for site in large])
    (kelvins,) = options.temperatures
    integrator = langevin(options.timestep, kelvins, options.friction)
    potential = chgnet_potential()
    state = start_dynamics(
        potential,
        [crystal],
        [masses],
        integrator,
        jax.random.key(0),
        temperature=kelvins,
        skin=options.skin,
    )
    state, _ = run_dynamics(potential, integrator, state, 100, every=steps)

    def run() -> None:
        nonlocal state
        state, _ = run_dynamics(potential, integrator, state, steps, every=steps)

    return {"atoms": len(large), "": [each / steps for each in repeated(run, repeats)]}


def measure(axis: str, size: int, repeats: int) -> dict[str, Any]:
    """One measurement, in this process."""
    warnings.simplefilter("ignore")
    defaults = {"batch": BATCH, "elements": 16, "atoms": 36, "devices": 1}
    if axis in defaults:
        times = training(repeats, **{**defaults, axis: size})
    elif axis in ("ensemble rows", "process rows"):
        times = fitting(repeats, size, axis == "process rows")
    else:
        others = {
            "pool": pool,
            "observations": ledger,
            "oracle atoms": oracle,
            "dynamics atoms": dynamics,
        }
        times = others[axis](repeats, size)
    at = times.pop("atoms", size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
    return {"size": at, "seconds": times, "megabytes": peak}


if __name__ == "__main__":
    axis, size, repeats = sys.argv[1:]
    print(json.dumps(measure(axis, int(size), int(repeats))))
