"""What an accelerator gives: the same work on the CPU and on JAX's default device.

    python experiments/benchmarks/accelerator.py [--minutes 8] [--output accelerator.json]

One command, that ends within its minutes: work for which no time is left is named as left out; the
least sizes of all come first. It needs jax, numpy, flax, optax, chex, distrax and numba beside this
package (`pip install --no-deps .`); without numba maps are left out. Each device is measured in a
process of its own, so that peaks of memory are its own (each is the highest since the process
began); where there is no other device than the CPU, that one alone is measured. `--small` is for
trying the script, `--pretend=FLAGS` for trying the comparison without a device: the CPU stands for
one, under other flags of XLA.

For each piece of work: the seconds of the first call less those of a later one (compilation), work
done per second of later calls, and whether the device's answer is the CPU's, within a tolerance
that stands beside. Products of networks are left at the device's default precision (TF32 or
bfloat16), as in training; those of potentials ask for float32.

- transitions: random trajectories of the crystal environment.
- training: updates, hypergrid 4x8 and crystals; crystals once more under `vmap` over one seed,
  which turns the two conditionals of each step into selections.
- fits: an ensemble of ten, and the exact process.
- maps: bond-valence site energies.
- potential: CHGNet's energies, forces and stresses of crystals of 32 atoms.
- dynamics: CHGNet, replicas of the same at 1 fs.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from environments import make_rollout

from mfal.crystals.elements import ATOMIC_MASS
from mfal.envs import (
    CrystalSpec,
    HypergridReward,
    HypergridSpec,
    crystal_environment,
    hypergrid,
    hypergrid_log_reward,
    to_crystal,
)
from mfal.gflownet import PolicyConfig, TrainConfig, make_trainer
from mfal.oracles.bond_valence.framework import Framework
from mfal.potentials import (
    chgnet_potential,
    energy_forces_stress,
    nve,
    pad_atoms,
    run_dynamics,
    start_dynamics,
)
from mfal.potentials.types import over_crystals
from mfal.proxies import (
    EnsembleConfig,
    GPConfig,
    make_dataset,
    make_ensemble,
    make_gaussian_process,
)

SPEC = CrystalSpec(elements=("Li", "P", "S", "Cl"), max_atoms=24)


class Work(NamedTuple):
    """One piece of work."""

    name: str
    size: int
    amount: float
    """Units done by one call."""
    unit: str
    make: Callable[[], Callable[[], Any]]
    """Makes the call; what it returns is waited for."""
    answer: Callable[[Any], Any] = lambda result: np.zeros(0)
    """Numbers of the first call's result that every device should give."""
    tolerance: float = 0.0
    """Largest difference from the CPU's that is no fault."""
    cpu: bool = True
    """Whether it is small enough for a CPU."""


def transitions(small: bool) -> Iterator[Work]:
    """Random trajectories; the answer is the mean composition, as rounding may tip a draw."""
    env = crystal_environment(SPEC)

    def composition(result: Any) -> Any:
        return np.asarray(jax.vmap(partial(to_crystal, SPEC))(result[0]).composition).mean(0)

    for batch in (64,) if small else (256, 4096, 65536):

        def make(batch: int = batch) -> Callable[[], Any]:
            rollout, seed = make_rollout(env, batch), jnp.uint32(7)
            return lambda: rollout(seed)

        steps = float(batch) * env.max_steps
        yield Work("transitions", batch, steps, "steps/s", make, composition, 0.05, batch <= 4096)


def training(small: bool) -> Iterator[Work]:
    """Updates; the answer is the loss of the first, from the same parameters and draws."""
    grid = HypergridSpec(4, 8)
    contests: tuple[tuple[str, Any, Any, Any, Any], ...] = (
        ("hypergrid", hypergrid(grid), hypergrid_log_reward(grid), HypergridReward(), (256, 256)),
        ("crystals", crystal_environment(SPEC), _lithium, jnp.float32(1), (256, 256, 256)),
    )
    for name, env, reward, params, hidden in contests:
        for batch in (32,) if small else (256, 2048, 16384):
            updates = 2 if small or batch > 2048 else 10
            config = TrainConfig(
                batch_size=batch,
                policy=PolicyConfig(hidden=(16,) if small else hidden),
                steps_per_dispatch=updates,
            )

            def make(config: Any = config, setting: Any = (env, reward, params)) -> Any:
                env, reward, params = setting
                trainer = make_trainer(env, reward, config)

                def run() -> Any:
                    state = trainer.init(jax.random.key(0))
                    return trainer.run(state, params, config.steps_per_dispatch, bar=False)[1]

                return run

            def first_loss(metrics: Any) -> Any:
                return np.log(np.asarray(metrics.loss[:1]))

            amount = float(batch * updates)
            cpu = batch <= 2048
            kind, unit = f"training, {name}", "trajectories/s"
            yield Work(kind, batch, amount, unit, make, first_loss, 0.1, cpu)
            if name == "crystals" and batch in (32, 2048):

                def make_flat(config: Any = config, setting: Any = (env, reward, params)) -> Any:
                    env, reward, params = setting
                    trainer = make_trainer(env, reward, config)
                    steps = config.steps_per_dispatch

                    def run(key: jax.Array) -> Any:
                        return trainer.run(trainer.init(key), params, steps, bar=False)[1]

                    seeds = jax.jit(jax.vmap(run))
                    return lambda: jax.tree.map(lambda x: x[0], seeds(jax.random.key(0)[None]))

                flat = f"{kind}, flat"
                yield Work(flat, batch, amount, unit, make_flat, first_loss, 0.1, small)


def _lithium(scale: jax.Array, state: Any) -> jax.Array:
    return scale * to_crystal(SPEC, state).composition[2]


def fits(small: bool) -> Iterator[Work]:
    """Fits; the answer is what they predict of ten inputs."""
    for rows in (32,) if small else (256, 512):
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(rows, 16)).astype(np.float32)
        data = make_dataset(
            inputs, rng.integers(0, 2, rows), np.sin(inputs[:, 0]) + 0.1 * rng.normal(size=rows)
        )

        def ensemble(data: Any = data, steps: int = 5 if small else 600) -> Callable[[], Any]:
            config = EnsembleConfig(num_fidelities=2, members=10, steps=steps)
            model = make_ensemble(config, _same, 16)
            start = model.init(jax.random.key(0))

            def run() -> Any:
                state = model.fit(start, data, jax.random.key(1))
                return jax.vmap(model.posterior, (None, 0))(state, data.crystal[:10]).mean

            return run

        def process(data: Any = data, steps: int = 5 if small else 120) -> Callable[[], Any]:
            model = make_gaussian_process(GPConfig(num_fidelities=2, steps=steps), _same, 16)

            def run() -> Any:
                state = model.fit(data)
                return jax.vmap(model.posterior, (None, 0))(state, data.crystal[:10]).mean

            return run

        yield Work("fit, ensemble", rows, 1.0, "fits/s", ensemble, np.asarray, 0.3)
        yield Work("fit, process", rows, 1.0, "fits/s", process, np.asarray, 0.02)


def _same(x: jax.Array) -> jax.Array:
    return x


def maps(small: bool) -> Iterator[Work]:
    """Site energies of rock salt with made-up constants; those above 5 eV are of no interest."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    framework = Framework(
        lattice=5.1 * np.eye(3),
        anion_position=corners,
        anion_constants=np.tile([2.6, 1.6, 0.3], (4, 1)),
        cation_position=corners + 0.5,
        cation_constants=np.tile([10.0, 0.7], (4, 1)),
        mobile_position=np.zeros((0, 3)),
        mobile_occupancy=np.zeros(0),
        partial=False,
        warnings=(),
    )
    for side in (12,) if small else (24, 48, 96):
        axis = np.arange(side) / side
        points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)

        def make(points: Any = points) -> Callable[[], Any]:
            from mfal.oracles.bond_valence.site_energy import site_energies  # needs numba

            return lambda: site_energies(framework, points)

        def low(energies: Any) -> Any:
            return np.minimum(energies, 5.0)

        yield Work("map", side**3, float(side**3), "points/s", make, low, 1e-3, side <= 48)


def rock_salt(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LiCl, 32 atoms, each displaced by some hundredths of an Å: positions, cell, species."""
    lattice = 5.14
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    steps = np.stack(np.meshgrid([0, 1], [0, 1], [0], indexing="ij"), -1).reshape(-1, 1, 3)
    sites = np.concatenate(
        [(steps + face).reshape(-1, 3), (steps + face + [0.5, 0, 0]).reshape(-1, 3)]
    )
    shake = np.random.default_rng(number).normal(scale=0.05, size=sites.shape)
    cell = lattice * np.diag([2.0, 2.0, 1.0])
    return lattice * sites + shake, cell, np.repeat([3, 17], len(sites) // 2)


def potential(small: bool) -> Iterator[Work]:
    """Energies per atom and forces of several crystals at once."""
    model = chgnet_potential()
    for crystals in (1,) if small else (1, 8, 64, 512):

        def make(crystals: int = crystals) -> Callable[[], Any]:
            batch = pad_atoms([rock_salt(number) for number in range(crystals)], 32)
            tables = model.neighbours(*batch)
            one = partial(energy_forces_stress, model.energy)
            program = jax.jit(lambda params, *batch: over_crystals(partial(one, params))(*batch))
            inputs = jax.device_put((model.params, *batch, tables), jax.devices()[0])
            return lambda: program(*inputs)

        def forces(result: Any) -> Any:
            return np.concatenate([result.energy[:1] / 32, result.forces[0].ravel()])

        cpu = crystals <= 8
        yield Work("potential", crystals, crystals, "crystals/s", make, forces, 1e-4, cpu)


def dynamics(small: bool) -> Iterator[Work]:
    """Replicas; the answer is the potential energy of the first after the steps."""
    model, integrator = chgnet_potential(), nve(timestep=1.0)
    for replicas in (1,) if small else (1, 16, 128):
        steps = 2 if small else 20

        def make(replicas: int = replicas, steps: int = steps) -> Callable[[], Any]:
            crystals = [rock_salt(0)] * replicas
            masses = [ATOMIC_MASS[crystal[2] - 1] for crystal in crystals]
            start = start_dynamics(
                model, crystals, masses, integrator, jax.random.key(0), temperature=600.0
            )
            return lambda: run_dynamics(model, integrator, start, steps, every=steps)[0]

        def energy(state: Any) -> Any:
            return np.asarray(state.potential_energy[:1]) / 32

        amount = replicas * steps * 1e-6 * 86400
        yield Work("dynamics", replicas, amount, "ns a day", make, energy, 1e-4, replicas <= 1)


PARTS = (transitions, training, fits, maps, potential, dynamics)


def measure(parts: list[str], small: bool, seconds: float, folder: Path) -> None:
    """All work on this process' device, into `folder`, written anew after each piece."""
    end, device = time.monotonic() + seconds, jax.devices()[0]
    cores = len(os.sched_getaffinity(0))
    about = f"{device.device_kind}, {platform.machine()}, {cores} cores"
    rows: list[dict[str, Any]] = []
    answers: dict[str, np.ndarray] = {}
    listed = [
        work
        for part in PARTS
        if part.__name__ in parts
        for work in part(small)
        if device.platform != "cpu" or work.cpu
    ]
    # The least sizes of all parts come first: where time is short, each part has been compared.
    sizes = {name: sorted({w.size for w in listed if w.name == name}) for name, *_ in listed}
    planned = sorted(listed, key=lambda work: sizes[work.name].index(work.size))
    write = partial(_write, folder, {"device": about, "platform": device.platform}, planned)
    write(rows)
    for work in planned:
        row: dict[str, Any] = {"work": work.name, "size": work.size, "unit": work.unit}
        if time.monotonic() > end:
            row["left_out"] = "no time left"
        else:
            try:
                row |= _timed(work, end, answers)
            # Of XLA, too large for this device; or there is no numba.
            except (RuntimeError, MemoryError, ImportError) as error:
                row["left_out"] = str(error).splitlines()[0][:100]
        row["tolerance"] = work.tolerance
        peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row["peak_gib"] = (peak if peak is not None else kilobytes * 1024) / 2**30
        rows.append(row)
        np.savez(folder / "answers.npz", **answers)  # type: ignore[arg-type]
        write(rows)
        print(f"  {work.name} {work.size}", file=sys.stderr, flush=True)


def _write(
    folder: Path, about: dict[str, str], planned: list[Work], rows: list[dict[str, Any]]
) -> None:
    """What has been done, and by name what hasn't: the process may be stopped at any time."""
    left = [
        {"work": work.name, "size": work.size, "unit": work.unit, "left_out": "stopped before"}
        for work in planned[len(rows) :]
    ]
    fresh = folder / "fresh.json"
    fresh.write_text(json.dumps({**about, "rows": rows + left}))
    fresh.replace(folder / "rows.json")


def _timed(work: Work, end: float, answers: dict[str, np.ndarray]) -> dict[str, Any]:
    call = work.make()
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    first = time.perf_counter() - start
    answers[f"{work.name} {work.size}"] = np.asarray(work.answer(result), np.float64)
    later: list[float] = []
    while len(later) < 5 and sum(later) < 3 and (not later or time.monotonic() < end):
        start = time.perf_counter()
        jax.block_until_ready(call())
        later.append(time.perf_counter() - start)
    best = min(later)
    return {"compile_s": max(0.0, first - best), "per_second": work.amount / best}


def compared(cpu: Path, other: Path | None) -> dict[str, Any]:
    """Both processes' rows side by side."""
    found = json.loads((cpu / "rows.json").read_text())
    report: dict[str, Any] = {"cpu": found["device"], "device": None, "rows": []}
    rows = {(row["work"], row["size"]): {"cpu": row} for row in found["rows"]}
    if other is not None:
        theirs = json.loads((other / "rows.json").read_text())
        report["device"] = theirs["device"]
        ours, answers = _answers(cpu), _answers(other)
        for row in theirs["rows"]:
            rows.setdefault((row["work"], row["size"]), {})["device"] = row
            name = f"{row['work']} {row['size']}"
            if name in ours and name in answers:
                apart = float(np.abs(ours[name] - answers[name]).max(initial=0.0))
                row["apart"], row["equal"] = apart, apart <= row["tolerance"]
    report["rows"] = [{"work": k[0], "size": k[1], **v} for k, v in rows.items()]
    return report


def _answers(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "answers.npz"
    return dict(np.load(path)) if path.exists() else {}


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    print(f"CPU: {report['cpu']}; device: {report['device'] or 'none at hand'}")
    for row in report["rows"]:
        words = [f"{row['work']:20} {row['size']:6}"]
        for side in ("cpu", "device"):
            one = row.get(side)
            if one is None:
                continue
            if "left_out" in one:
                words.append(f"{side}: left out ({one['left_out']})")
                continue
            words.append(
                f"{side}: {one['per_second']:.3g} {one['unit']}"
                f", compiled in {one['compile_s']:.1f} s, {one['peak_gib']:.1f} GiB"
            )
        both = [row.get(side, {}).get("per_second") for side in ("cpu", "device")]
        if all(both):
            words.append(f"{both[1] / both[0]:.2f}x")
        if "equal" in row.get("device", {}):
            one = row["device"]
            verdict = "equal" if one["equal"] else "NOT EQUAL"
            words.append(f"{verdict} ({one['apart']:.1e}, {one['tolerance']:g} allowed)")
        print("  ".join(words))


def main() -> None:
    """Measure each device in a process of its own, then compare."""
    names = [part.__name__ for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="in which it ends")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--small", action="store_true", help="sizes that take a CPU no time")
    parser.add_argument("--pretend", metavar="FLAGS", help="XLA_FLAGS of a CPU as the device")
    parser.add_argument("--output", type=Path, help="JSON to write")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.parts, options.small, options.minutes * 60, options.measure)
        return
    start, budget = time.monotonic(), options.minutes * 60 * 0.97
    # Asked in another process: one that has seen a device holds its memory.
    ask = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    backend = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[-1]
    alone = backend == "cpu" and options.pretend is None
    shares = {"cpu": 1.0} if alone else {"cpu": 0.4, "device": 1.0}
    with tempfile.TemporaryDirectory() as made:
        folders = [Path(made) / name for name in shares]
        for folder, share in zip(folders, shares.values(), strict=True):
            folder.mkdir()
            environment = dict(os.environ)
            if folder.name == "cpu" or options.pretend is not None:
                environment["JAX_PLATFORMS"] = "cpu"
            if folder.name == "device" and options.pretend is not None:
                environment["XLA_FLAGS"] = options.pretend
            left = share * (budget - (time.monotonic() - start))
            words = [sys.executable, __file__, "--measure", str(folder), "--parts", *options.parts]
            # What is being compiled at its end can't be stopped from within.
            words += ["--minutes", str(max(left - 40, left / 2) / 60)]
            words += ["--small"] * options.small
            try:
                subprocess.run(words, env=environment, timeout=left, check=False)
            except subprocess.TimeoutExpired:
                print(f"{folder.name}: stopped at its time", file=sys.stderr)
        measured = [folder for folder in folders if (folder / "rows.json").exists()]
        if folders[0] not in measured:
            raise SystemExit("nothing was measured on the CPU")
        report = compared(folders[0], measured[1] if len(measured) > 1 else None)
    show(report)
    if options.output is not None:
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
