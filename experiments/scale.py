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
- oracle atoms: the migration barrier and the conductivity of one structure, cells multiplied;
- dynamics atoms: a step of molecular dynamics by CHGNet of the same, as the dynamics oracle takes.

Printed: median and range of repeated timings, peak memory, and the exponent of growth (slope of
log time against log size) with its 90 % interval by bootstrap over the timings.

    python experiments/scale.py [--size small]
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from shared import Interval, do_pieces, make_parser, save_figure, subplots, write_record

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
        "dynamics atoms": (1, 2),
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
        "dynamics atoms": (1, 2, 4, 8),
    },
}
MEASURING = Path(__file__).with_name("scale_measurement.py")
REPEATS = {"small": 3, "default": 5}
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
    "dynamics atoms": "s a step",
}


def apart(axis: str, size: int, repeats: int) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    environment = dict(os.environ)
    if axis == "devices":
        flag = f"--xla_force_host_platform_device_count={size}"
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {flag}".strip()
    command = [sys.executable, str(MEASURING), axis, str(size), str(repeats)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{axis} {size}: failed: {last}", flush=True)
        return {"size": size, "seconds": {}, "megabytes": float("nan"), "failed": last}
    print(f"{axis} {size}: done", flush=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def available_cores() -> int:
    """Cores that this process may use: fewer than the machine has where it is bound to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    cores = available_cores()
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
            f"to score on {cores} core(s), at {scoring['megabytes'][-1]:.0f} MB whatever their "
            f"number; 10^9 take {hours * draw:.0f} + {hours * score:.0f} core hours, which spread "
            "over a cluster without talk between its nodes but for the best of each"
        )
    answer = table.get("oracle atoms, conductivity")
    if answer:
        seconds = float(np.median(answer["seconds"][0]))
        lines.append(
            f"to ask the target about one in a thousand of them ({answer['sizes'][0]} atoms, "
            f"{seconds:.2g} s each on one core) takes {1e6 * seconds / 3600:.0f} core hours more, "
            "besides giving them atoms (triple_defines_crystal.py prints what that takes)"
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
    whole, axes = subplots(2, (10, 4.6))
    for color, (key, found) in enumerate(table.items()):
        style = {"color": f"C{color % 10}", "marker": "o" if color < 10 else "s", "markersize": 3}
        middle = [float(np.median(times)) for times in found["seconds"]]
        axes[0].loglog(found["sizes"], middle, label=key, **style)
        axes[1].semilogx(found["sizes"], found["megabytes"], **style)
    axes[0].set(xlabel="size", ylabel="seconds")
    axes[1].set(xlabel="size", ylabel="peak memory, MB", ylim=(0, None))
    whole.legend(loc="outside lower center", frameon=False, fontsize=7, ncols=5)
    save_figure(whole, path)


def main() -> None:
    """Measure, print, write, plot."""
    parser = make_parser(__doc__, AXES)
    parser.add_argument("--axes", nargs="*", help="only these")
    options = parser.parse_args()
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
        {"cores": available_cores(), "table": table, "conclusions": lines},
        options,
        time.time() - start,
    )
    figure(table, options.out / "scale.png")


if __name__ == "__main__":
    main()
