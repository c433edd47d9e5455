"""How time and memory grow, and what a billion candidates would take.

Each measurement runs in a process of its own, so that its peak memory is its own. Along each axis
one size varies and the rest stays at its default:

- batch, elements, atoms per cell: a training step of the GFlowNet on the crystal environment
  (reward: the random search's density; networks of 2 x 128);
- devices: the same step with the batch spread over host devices that XLA is told to make
  (--xla_force_host_platform_device_count; they share this machine's cores);
- pool: drawing random crystals and scoring them with the ensemble of three fidelities;
- rows: a fit of that ensemble, and of the exact Gaussian process;
- observations: the ledger: writing proposals and answers, reading a status and what a decision
  reads;
- oracle atoms: the migration barrier and the conductivity of one structure, cells multiplied.

Printed: median and range of repeated timings, peak memory, and the exponent of growth (slope of
log time against log size) with its 90 % interval by bootstrap over the timings.

    python experiments/scale.py [--size small]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from shared import Interval, do_pieces, save_figure, write_record

AXES: dict[str, dict[str, tuple[int, ...]]] = {
    "small": {
        "batch": (32, 128, 512),
        "elements": (4, 16, 48),
        "atoms": (12, 24, 48),
        "devices": (1, 2, 4),
        "pool": (10_000, 100_000, 1_000_000),
        "ensemble rows": (64, 256, 1024),
        "process rows": (64, 128, 256),
        "observations": (1_000, 10_000, 100_000),
        "oracle atoms": (1, 2, 4),
    },
    "default": {
        "batch": (16, 64, 256, 1024, 4096),
        "elements": (4, 8, 16, 32, 64),
        "atoms": (8, 16, 32, 56),
        "devices": (1, 2, 4, 8),
        "pool": (10_000, 100_000, 1_000_000),
        "ensemble rows": (64, 256, 1024, 4096),
        "process rows": (64, 128, 256, 512, 1024),
        "observations": (1_000, 10_000, 100_000),
        "oracle atoms": (1, 2, 4, 8),
    },
}
REPEATS = {"small": 3, "default": 5}
BATCH, STEPS = 128, 20  # of a timed training run
CHUNK = 8192  # crystals scored at a time
UNITS = {
    "batch": "s a training step",
    "elements": "s a training step",
    "atoms": "s a training step",
    "devices": "s a training step",
    "pool, drawing one": "s a crystal",
    "pool, scoring": "s in all",
    "ensemble rows": "s a fit",
    "process rows": "s a fit",
    "observations, proposing": "s in all",
    "observations, answering": "s an answer",
    "observations, status": "s",
    "observations, reading 512": "s",
    "oracle atoms, bvse": "s a structure",
    "oracle atoms, conductivity": "s a structure",
}
METALS = (
    *("Na", "K", "Mg", "Ca", "Sr", "Ba", "Al", "Ga", "In", "Sc", "Y", "La", "Ti", "Zr", "Hf"),
    *("Nb", "Ta", "Si", "Ge", "Sn", "B", "P", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
    *("Mo", "W", "Cd", "Ag", "Rb", "Cs", "Bi", "Pb", "Ce", "Nd", "Sm", "Gd", "Er", "Yb", "Lu"),
)
ANIONS = ("O", "S", "F", "Cl", "Br", "N", "I", "Se")


def repeated(run: Callable[[], Any], repeats: int) -> list[float]:
    """Wall seconds of each of several runs, one more before them for the compiler."""
    run()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


# --- measurements, each in its own process --------------------------------------------------------


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

    from mfal.campaign.uniform import log_density
    from mfal.envs.crystal import crystal_environment
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

    from mfal.campaign.uniform import sample_uniformly
    from mfal.envs.crystal import crystal_environment, to_crystal
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

    from mfal.campaign.uniform import sample_uniformly
    from mfal.envs.crystal import crystal_environment, to_crystal
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
    from mfal.campaign.records import CrystalRecord, Outcome, Proposal
    from mfal.campaign.status import read_status
    from mfal.oracles import default_oracles

    top = default_oracles()[-1]
    states = {"Li": 1.0, "F": -1.0}

    def proposal(number: int) -> Proposal:
        cell = (4.0 + 1e-5 * number, 4.0, 4.0, 90.0, 90.0, 90.0)
        crystal = CrystalRecord(
            f"c{number}", "LiF", {"Li": 1, "F": 1}, 225, cell, states, "sampled"
        )
        return Proposal(crystal, top.fidelity, top.name, top.version, 1e-6, 1, {})

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


def oracle(repeats: int, times: int) -> dict[str, Any]:
    """Seconds of the oracles on Li3PO4 (or the first ordered phosphate), its cell multiplied."""
    from mfal.data import load_embedded
    from mfal.oracles import bvse_oracle, conductivity_oracle

    table = load_embedded()
    number = next(
        i
        for i, formula in enumerate(table.formulas)
        if formula == "Li3PO4" and table.has_structure[i]
    )
    structure = table.structure(number)
    assert structure is not None
    # Without its symmetry's help: a displaced atom makes every cell an irregular one.
    large = structure.copy().make_supercell((times, 1, 1)).perturb(0.02, seed=0)
    found: dict[str, Any] = {"atoms": len(large)}
    for asked in (bvse_oracle(), conductivity_oracle()):
        found[asked.name] = repeated(partial(asked.evaluate, [large]), min(repeats, 3))
    return found


def measure(axis: str, size: int, repeats: int) -> dict[str, Any]:
    """One measurement, in this process."""
    warnings.simplefilter("ignore")
    defaults = {"batch": BATCH, "elements": 16, "atoms": 36, "devices": 1}
    if axis in defaults:
        times = training(repeats, **{**defaults, axis: size})
    elif axis in ("ensemble rows", "process rows"):
        times = fitting(repeats, size, axis == "process rows")
    else:
        times = {"pool": pool, "observations": ledger, "oracle atoms": oracle}[axis](repeats, size)
    at = times.pop("atoms", size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
    return {"size": at, "seconds": times, "megabytes": peak}


def apart(axis: str, size: int, repeats: int) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    environment = dict(os.environ)
    if axis == "devices":
        flag = f"--xla_force_host_platform_device_count={size}"
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {flag}".strip()
    command = [sys.executable, __file__, "--one", axis, str(size), str(repeats)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{axis} {size}: failed: {last}", flush=True)
        return {"size": size, "seconds": {}, "megabytes": float("nan"), "failed": last}
    print(f"{axis} {size}: done", flush=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


# --- figures --------------------------------------------------------------------------------------


def exponent(points: list[tuple[float, list[float]]]) -> Interval:
    """Slope of log time against log size; bootstrap over each size's timings."""
    rng = np.random.default_rng(0)
    log_size = np.log([size for size, _ in points])

    def slope(times: list[float]) -> float:
        return float(np.polyfit(log_size, np.log(times), 1)[0])

    draws = [
        slope([float(np.median(rng.choice(t, len(t)))) for _, t in points]) for _ in range(400)
    ]
    low, high = np.quantile(draws, [0.05, 0.95])
    return Interval(slope([float(np.median(t)) for _, t in points]), float(low), float(high))


def show(pieces: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Prints the table and returns it, by axis."""
    lines: dict[str, list[tuple[float, list[float], float]]] = {}
    for name, piece in pieces.items():
        axis = name.rsplit(" ", 1)[0]
        for part, times in piece["seconds"].items():
            key = f"{axis}, {part}" if part else axis
            lines.setdefault(key, []).append((piece["size"], times, piece["megabytes"]))
    table: dict[str, Any] = {}
    print(f"\n{'axis':28s}{'size':>9s}{'median':>11s}{'least':>11s}{'most':>11s}{'peak MB':>9s}")
    for key, points in lines.items():
        for size, times, megabytes in points:
            print(
                f"{key:28s}{size:9d}{np.median(times):11.3g}{min(times):11.3g}{max(times):11.3g}"
                f"{megabytes:9.0f}  {UNITS[key]}"
            )
        table[key] = {
            "sizes": [size for size, _, _ in points],
            "seconds": [times for _, times, _ in points],
            "megabytes": [megabytes for _, _, megabytes in points],
        }
        if len(points) > 1:
            grows = exponent([(size, times) for size, times, _ in points])
            table[key]["exponent"] = grows
            print(f"{'':28s}grows as size^{grows}")
    return table


def conclude(table: dict[str, Any]) -> list[str]:
    """What a billion candidates would take, from this machine's rates."""
    cores = os.cpu_count() or 1
    lines = []
    for key, found in table.items():
        if "exponent" in found:
            slope = found["exponent"]
            if slope.low > 0.8 and slope.high < 1.2:
                kind = "about linearly"
            elif slope.high < 1:
                kind = "less than linearly"
            else:
                kind = "more than linearly" if slope.low > 1 else "in a way that is not resolved"
            lines.append(f"{key}: time grows {kind} (exponent {slope})")
    drawing, scoring = table.get("pool, drawing one"), table.get("pool, scoring")
    if drawing and scoring:
        draw = float(np.median(drawing["seconds"][-1]))
        score = float(np.median(scoring["seconds"][-1])) / scoring["sizes"][-1]
        hours = 1e9 * cores / 3600
        lines.append(
            f"one candidate takes {1e6 * draw:.0f} us to draw at random and {1e6 * score:.0f} us "
            f"to score on {cores} cores, at {scoring['megabytes'][-1]:.0f} MB whatever their "
            f"number; 10^9 take {hours * draw:.0f} + {hours * score:.0f} core hours, which spread "
            "over a cluster without talk between its nodes but for the best of each"
        )
    answer = table.get("oracle atoms, conductivity")
    if answer:
        seconds = float(np.median(answer["seconds"][0]))
        lines.append(
            f"to ask the top oracle about one in a thousand of them ({answer['sizes'][0]} atoms, "
            f"{seconds:.2g} s each on one core) takes {1e6 * seconds / 3600:.0f} core hours more"
        )
    write = table.get("observations, answering")
    if write:
        seconds = float(np.median(write["seconds"][-1]))
        lines.append(
            f"the ledger takes {1 / seconds:.0f} answers a second, each waited for on the disk: "
            f"10^6 answers take {1e6 * seconds / 3600:.1f} hours of one writer"
        )
    return lines


def figure(table: dict[str, Any], path: Path) -> None:
    """Time against size along each axis, and memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    whole, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for color, (key, found) in enumerate(table.items()):
        style = {"color": f"C{color % 10}", "marker": "o" if color < 10 else "s", "markersize": 3}
        middle = [float(np.median(times)) for times in found["seconds"]]
        axes[0].loglog(found["sizes"], middle, label=key, **style)
        axes[1].semilogx(found["sizes"], found["megabytes"], **style)
    axes[0].set(xlabel="size", ylabel="seconds")
    axes[1].set(xlabel="size", ylabel="peak memory, MB", ylim=(0, None))
    axes[0].legend(frameon=False, fontsize=6, ncols=2)
    save_figure(whole, path)


def main() -> None:
    """Measure, print, write, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=AXES, default="default")
    parser.add_argument("--axes", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--minutes", type=float, help="begin nothing new after so long")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        axis, size, repeats = options.one
        print(json.dumps(measure(axis, int(size), int(repeats))))
        return
    start = time.time()
    chosen = AXES[options.size]
    tasks: dict[str, Callable[[], Any]] = {
        f"{axis} {size}": partial(apart, axis, size, REPEATS[options.size])
        for axis in (options.axes or chosen)
        for size in chosen[axis]
    }
    pieces = do_pieces(options.out / f"scale_{options.size}.jsonl", tasks, options.minutes)
    table = show(pieces)
    lines = conclude(table)
    print("\n" + "\n".join(lines))
    print(
        "What would overturn this: an accelerator, another disk, a machine that does nothing else\n"
        "(these timings are wall times), crystals of many more atoms than these."
    )
    write_record(
        options.out / "scale.json",
        {"cores": os.cpu_count(), "table": table, "conclusions": lines},
        options,
        time.time() - start,
    )
    figure(table, options.out / "scale.png")


if __name__ == "__main__":
    main()
