"""Speed of GFlowNet training beside peers, in one alternated run.

    python experiments/benchmarks/gflownet.py --out result.json

Hypergrid with trajectory balance and a learned backward policy, equal network (in, 256, 256,
forward and backward logits), batch, learning rates (1e-3, log Z 0.1) and exploration (0.1):

- mfal, in float32 and in bfloat16;
- gfnx: its environment, rollout and log-probabilities; loss and update as in its
  trajectory-balance baseline, many steps in one compiled loop, metrics and host callbacks left out;
- torchgfn: its gym, sampler and TBGFlowNet, in a process of its own (--torchgfn names another
  interpreter). `peers.txt` beside this script says how to install both.

The race to an exact total variation of 0.1 (batch 16) alternates, too, 100 iterations at a time,
over several seeds; measuring is not counted.

Crystals: trajectories per CPU second on a production-like spec and on the default one. The peer's
figures there are those of Crystal-GFN (PyTorch, one thread): 190 and 128.

Rounds alternate between the contestants, so that a busy machine slows all alike; the median round
counts. They begin after --warm-up updates, for trajectories grow longer in the first hundred, which
costs those most who pay for live states only. Compile time is apart. CPU seconds are those of this
process, over all its threads.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mfal.envs import CrystalSpec, crystal_environment, production_like_spec, to_crystal
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.exact import enumerate_states, exact_metrics
from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import make_trainer

EPSILON, RATE, LOG_Z_RATE = 0.1, 1e-3, 0.1
CRYSTAL_GFN = {"production": 190.0, "default": 128.0}
Round = Callable[[int], None]

TORCHGFN = Path(__file__).with_name("torchgfn_worker.py")


def main() -> None:
    """Run all contests, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gflownet_benchmark.json"))
    parser.add_argument("--torchgfn", help="interpreter that has torchgfn, if not this one")
    parser.add_argument("--seeds", type=int, default=3, help="of the race to total variation 0.1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=150, help="updates before the first round")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the steps of a round")
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 256])
    parser.add_argument("--skip-crystal", action="store_true")
    parser.add_argument("--skip-convergence", action="store_true")
    args = parser.parse_args()
    if args.torchgfn is None and importlib.util.find_spec("gfn"):
        args.torchgfn = sys.executable
    results: dict[str, Any] = {"versions": {"jax": jax.__version__, "numpy": np.__version__}}
    for batch in args.batches:
        steps = max(2, int(args.scale * 1600 / batch))
        results[f"hypergrid 4x8 batch {batch}"] = race(
            4, 8, batch, args.torchgfn, args.rounds, steps, args.warm_up
        )
    if not args.skip_convergence:
        results["seconds to total variation 0.1"] = convergence(
            4, 8, 16, args.torchgfn, range(args.seeds)
        )
    if not args.skip_crystal:
        for name in CRYSTAL_GFN:
            results[f"crystal {name}"] = crystals(name, args.rounds)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    for title, rows in results.items():
        print(title)
        for name, figures in rows.items():
            print(f"  {name:16s} {figures}")


def race(
    dims: int, side: int, batch: int, torchgfn: str | None, rounds: int, steps: int, warm_up: int
) -> dict[str, Any]:
    """Iterations per second of wall and of CPU time, after `warm_up` updates."""
    contestants: dict[str, Callable[[int], tuple[float, float]]] = {}
    compile_seconds = {}
    for dtype in ("float32", "bfloat16"):
        start = time.perf_counter()
        contestants[f"mfal {dtype}"] = _timed(_mfal(dims, side, batch, dtype)[0])
        compile_seconds[f"mfal {dtype}"] = time.perf_counter() - start
    start = time.perf_counter()
    contestants["gfnx"] = _timed(_gfnx(dims, side, batch)[0])
    compile_seconds["gfnx"] = time.perf_counter() - start
    if torchgfn:
        contestants["torchgfn"], _ = _torchgfn(torchgfn, dims, side, batch, 0)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    if warm_up:
        for contestant in contestants.values():
            contestant(warm_up)
    for _ in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(contestant(steps))
    result = {}
    for name, seconds in times.items():
        wall = statistics.median(pair[0] for pair in seconds) / steps
        cpu = statistics.median(pair[1] for pair in seconds) / steps
        result[name] = {
            "iterations per second": round(1 / wall, 1),
            "iterations per CPU second": round(1 / cpu, 1),
            "seconds to compile": round(compile_seconds.get(name, 0.0), 1),
        }
    for name in list(result):
        for column in ("iterations per second", "iterations per CPU second"):
            ratio = result["mfal float32"][column] / result[name][column]
            result[name][f"mfal float32 to it, {column}"] = round(ratio, 2)
    return result


def convergence(
    dims: int, side: int, batch: int, torchgfn: str | None, seeds: range, limit: int = 6000
) -> dict[str, Any]:
    """Wall and CPU seconds, compilation apart, until the exact total variation is under 0.1."""
    spec = HypergridSpec(dims, side)
    graph = enumerate_states(hypergrid(spec))
    reward = hypergrid_log_reward(spec)
    observe = jax.jit(lambda s: jax.vmap(hypergrid(spec).observe)(s))(graph.states)
    rewards = jax.vmap(reward, (None, 0))(HypergridReward(), graph.states)
    rewards = jnp.where(graph.terminal, rewards, -jnp.inf)
    peer_distance = jax.jit(lambda network: _peer_distance(network, observe, graph, rewards))
    runs: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        run_ours, trainer, box = _mfal(dims, side, batch, "float32", 100, seed)
        measure = exact_metrics(graph, trainer.policy, reward)
        run_gfnx, peer = _gfnx(dims, side, batch, seed)

        def ours(box: Any = box, measure: Any = measure) -> float:
            policy = box["state"].params["policy"]
            return float(measure(policy, HypergridReward(), jnp.float32(0)).total_variation)

        contestants: dict[str, tuple[Any, Callable[[], float]]] = {
            "mfal float32": (_timed(run_ours), ours),
            "gfnx": (_timed(run_gfnx), lambda p=peer: float(peer_distance(p["params"]["network"]))),
        }
        if torchgfn:
            advance, network = _torchgfn(torchgfn, dims, side, batch, seed)
            contestants["torchgfn"] = (advance, lambda n=network: float(peer_distance(n())))
        spent = {name: [0.0, 0.0, 0.0, 1.0] for name in contestants}
        while any(row[3] >= 0.1 and row[2] < limit for row in spent.values()):
            for name, (contestant, distance) in contestants.items():
                row = spent[name]
                if row[3] >= 0.1 and row[2] < limit:
                    wall, cpu = contestant(100)
                    row = [row[0] + wall, row[1] + cpu, row[2] + 100, distance()]
                    spent[name] = row
                    if row[3] < 0.1 or row[2] >= limit:
                        print(f"seed {seed}: {name} {row[1]:.2f} CPU s, {row[2]:.0f} iterations")
        names = ("seconds", "CPU seconds", "iterations", "total variation")
        for name, row in spent.items():
            runs.setdefault(name, []).append(dict(zip(names, row, strict=True)))
    result = {}
    for name, rows in runs.items():
        result[name] = {
            f"median {column}": round(statistics.median(row[column] for row in rows), 3)
            for column in rows[0]
        } | {"CPU seconds of each seed": [round(row["CPU seconds"], 2) for row in rows]}
    return result


def crystals(name: str, rounds: int) -> dict[str, Any]:
    """Trajectories per CPU second of full training steps on crystals."""
    if name == "production":
        spec = production_like_spec()
        hidden: tuple[int, ...] = (256, 256, 256)
    else:
        spec, hidden = CrystalSpec(), (128, 128)
    env = crystal_environment(spec)

    def reward(target: jax.Array, state: Any) -> jax.Array:
        return -jnp.abs(jnp.sum(to_crystal(spec, state).composition) - target) / 10

    result = {}
    for dtype in ("float32", "bfloat16"):
        policy = PolicyConfig(hidden=hidden, backward="none", dtype=dtype)
        trainer = make_trainer(env, reward, TrainConfig(batch_size=100, policy=policy))
        box = {"state": trainer.init(jax.random.key(0))}

        def run(steps: int, trainer: Any = trainer, box: dict[str, Any] = box) -> None:
            box["state"], metrics = trainer.run(box["state"], 20.0, steps, bar=False)
            jax.block_until_ready(metrics)

        start = time.perf_counter()
        run(2)
        compiled = time.perf_counter() - start
        seconds = [_timed(run)(30) for _ in range(rounds)]
        cpu = statistics.median(pair[1] for pair in seconds)
        rate = 30 * 100 / cpu
        result[f"mfal {dtype}"] = {
            "trajectories per CPU second": round(rate),
            "to Crystal-GFN": round(rate / CRYSTAL_GFN[name], 1),
            "trajectories per second": round(
                30 * 100 / statistics.median(pair[0] for pair in seconds)
            ),
            "seconds to compile": round(compiled, 1),
        }
    return result


def _mfal(
    dims: int, side: int, batch: int, dtype: str, steps_per_dispatch: int = 50, seed: int = 0
) -> tuple[Round, Any, dict[str, Any]]:
    spec = HypergridSpec(dims, side)
    config = TrainConfig(
        batch_size=batch,
        policy=PolicyConfig(hidden=(256, 256), backward="learned", dtype=dtype),
        learning_rate=RATE,
        log_z_learning_rate=LOG_Z_RATE,
        log_z_from_batch=False,
        exploration=ExplorationConfig(epsilon=Schedule(EPSILON, EPSILON)),
        steps_per_dispatch=steps_per_dispatch,
    )
    trainer = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config)
    box = {"state": trainer.init(jax.random.key(seed))}

    def run(steps: int) -> None:
        box["state"], metrics = trainer.run(box["state"], HypergridReward(), steps, bar=False)
        jax.block_until_ready(metrics)

    run(1)
    return run, trainer, box


def _peer_network(params: Any, x: jax.Array) -> jax.Array:
    for kernel, bias in params[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    return x @ params[-1][0] + params[-1][1]


def _peer_distance(network: Any, observations: jax.Array, graph: Any, rewards: jax.Array) -> Any:
    logits = _peer_network(network, observations)[:, : graph.mask.shape[1]]
    moves = jax.nn.softmax(logits, where=graph.mask, axis=-1)
    count = graph.terminal.shape[0]
    mass, resting = jnp.zeros(count).at[0].set(1.0), jnp.zeros(count)
    for _ in range(graph.max_steps):
        flow = (mass[:, None] * jnp.where(graph.mask, moves, 0.0)).reshape(-1)
        mass = jax.ops.segment_sum(flow, graph.successor.reshape(-1), count + 1)[:count]
        resting = resting + jnp.where(graph.terminal, mass, 0.0)
    return 0.5 * jnp.sum(jnp.abs(resting - jax.nn.softmax(rewards)))


def _gfnx(dims: int, side: int, batch: int, seed: int = 0) -> tuple[Round, dict[str, Any]]:
    import gfnx

    env = gfnx.HypergridEnvironment(gfnx.EasyHypergridRewardModule(), dim=dims, side=side)
    env_params = env.init(jax.random.key(0))
    sizes = [env.observation_space.shape[0], 256, 256, 2 * dims + 1]
    keys = jax.random.split(jax.random.key(100 + seed), len(sizes) - 1)
    network = [
        (jax.random.normal(key, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b))
        for key, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]
    network[-1] = (network[-1][0] * 0.01, network[-1][1])
    params = {"network": network, "log_z": jnp.float32(0.0)}
    optimiser = optax.multi_transform(
        {"network": optax.adam(RATE), "log_z": optax.adam(LOG_Z_RATE)},
        {"network": "network", "log_z": "log_z"},
    )

    def policy(key: Any, observations: jax.Array, network: Any) -> Any:
        out = _peer_network(network, observations)
        forward, backward = out[..., : dims + 1], out[..., dims + 1 :]
        # Exploration: with chance epsilon the row of logits is flat.
        flat = jax.random.bernoulli(key, EPSILON, (*forward.shape[:-1], 1))
        told = {"forward_logits": forward, "backward_logits": backward}
        return jnp.where(flat, 0.0, forward), told

    def loss(params: Any, drawn: Any) -> jax.Array:
        out = _peer_network(params["network"], drawn.obs)
        again = {"forward_logits": out[..., : dims + 1], "backward_logits": out[..., dims + 1 :]}
        drawn = drawn.replace(info={**drawn.info, **again})
        log_pf, log_pb = gfnx.utils.forward_trajectory_log_probs(env, drawn, env_params)
        log_reward = jnp.sum(jnp.where(drawn.pad, 0.0, drawn.log_gfn_reward), axis=1)
        return jnp.mean((params["log_z"] + log_pf - log_pb - log_reward) ** 2)

    def step(_: Any, carry: Any) -> Any:
        params, opt_state, key = carry
        key, key_draw = jax.random.split(key)
        drawn, _ = gfnx.utils.forward_rollout(
            key_draw, batch, policy, params["network"], env, env_params
        )
        grads = jax.grad(loss)(params, drawn)
        updates, opt_state = optimiser.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, key

    @jax.jit
    def many(count: jax.Array, params: Any, opt_state: Any, key: Any) -> Any:
        return jax.lax.fori_loop(0, count, step, (params, opt_state, key))

    box = {"params": params, "carry": (optimiser.init(params), jax.random.key(200 + seed))}

    def run(steps: int) -> None:
        params, *carry = many(jnp.int32(steps), box["params"], *box["carry"])
        box.update(params=params, carry=tuple(carry))
        jax.block_until_ready(params)

    run(1)
    return run, box


def _torchgfn(
    interpreter: str, dims: int, side: int, batch: int, seed: int
) -> tuple[Callable[[int], tuple[float, float]], Callable[[], Any]]:
    """Trains so many steps, and tells the network as kernels and biases."""
    worker = subprocess.Popen(
        [interpreter, str(TORCHGFN), *map(str, (dims, side, batch, seed))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    stdin, stdout = worker.stdin, worker.stdout
    if stdout.readline().strip() != "ready":
        sys.exit("torchgfn did not start")

    def ask(line: str) -> str:
        stdin.write(f"{line}\n")
        stdin.flush()
        return stdout.readline()

    def contestant(steps: int) -> tuple[float, float]:
        wall, cpu = ask(str(steps)).split()
        return float(wall), float(cpu)

    def network() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.npz"
            ask(f"save {path}")
            arrays = np.load(path)
            count = len(arrays.files) // 2
            return [
                (jnp.asarray(arrays[f"kernel{n}"]), jnp.asarray(arrays[f"bias{n}"]))
                for n in range(count)
            ]

    return contestant, network


def _timed(run: Round) -> Callable[[int], tuple[float, float]]:
    def timed(steps: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        run(steps)
        return time.perf_counter() - wall, time.process_time() - cpu

    return timed


if __name__ == "__main__":
    main()
