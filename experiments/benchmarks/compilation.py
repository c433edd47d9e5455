"""What of a campaign's CPU time goes into tracing, lowering and compiling, cold and warm.

    python experiments/benchmarks/compilation.py [--seeds 0 1] [--output FILE] [-- --budget 2m ...]

Campaigns run one after another by `mfal discover`, one for each seed, with the options after `--`
and a cache of compiled programs that is empty at first: the first campaign is cold, the others
are warm, and ask about other crystals. JAX itself tells when it traces, lowers, and compiles or
loads a program (`jax.monitoring`); each process of the campaign, workers included, notes the CPU
time of all its threads then. Whatever is traced within another trace counts once. Printed are the
shares of each campaign's CPU time (its own and that of its workers), and the programs.
"""

import argparse
import collections
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = "MFAL_COMPILATION_NOTES"
"""Variable that names the folder where processes write their notes."""
STAGES = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling",
}


def take_notes() -> None:
    """From now on, write a line for each stage that this process goes through."""
    from mfal.cli.cache import use_compilation_cache

    use_compilation_cache()  # before JAX is imported
    import jax.monitoring

    place = "worker" if os.environ.get("JAX_PLATFORMS") == "cpu" else "main"
    notes = (Path(os.environ[FOLDER]) / f"{place}-{os.getpid()}.jsonl").open("a", buffering=1)
    open_stages: list[list[float]] = []  # CPU time at the start, and that of stages within
    loaded = [False]

    def begin(event: str, value: float, **about: Any) -> None:
        if event in STAGES:
            open_stages.append([time.process_time(), 0.0])

    def end(event: str, value: float, **about: Any) -> None:
        if event not in STAGES or not open_stages:
            return
        start, within = open_stages.pop()
        taken = time.process_time() - start
        if open_stages:
            open_stages[-1][1] += taken
        stage = STAGES[event]
        if stage == "compiling":
            stage, loaded[0] = "loading" if loaded[0] else stage, False
        notes.write(json.dumps([stage, about.get("fun_name", ""), taken - within]) + "\n")

    def hit(event: str, **about: Any) -> None:
        loaded[0] |= event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_scalar_listener(begin)
    jax.monitoring.register_event_duration_secs_listener(end)
    jax.monitoring.register_event_listener(hit)


def campaign(seed: int, cache: Path, words: list[str]) -> dict[str, Any]:
    """One campaign's CPU seconds, and those of each stage of each program."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        # Python imports a module of this name whenever it starts, in workers as well.
        shutil.copy(__file__, folder / "sitecustomize.py")
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path, FOLDER: made, "MFAL_CACHE": str(cache)}
        out = folder / "campaign"
        command = [sys.executable, "-m", "mfal.cli", "discover", "--out", str(out), "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, "--seed", str(seed), *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if not out.exists():
            raise SystemExit(done.stderr[-2000:])
        stages: collections.Counter[str] = collections.Counter()
        programs: dict[str, dict[str, Any]] = {}
        for file in sorted(folder.glob("*.jsonl")):
            place = file.name.split("-")[0]
            for line in file.read_text().splitlines():
                stage, name, seconds = json.loads(line)
                stages[stage] += seconds
                name = name.removeprefix("jit(").removesuffix(")")
                key = f"{place}: {name.removeprefix('jit_')}"
                row = programs.setdefault(key, collections.Counter())
                row[stage] += seconds
                row[f"{stage} times"] += 1
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seed": seed, "cpu_s": cpu, "stages": stages, "programs": programs}


def show(found: dict[str, Any]) -> None:
    """Print one campaign's table."""
    cpu, whole = found["cpu_s"], sum(found["stages"].values())
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found["stages"].items())
    print(
        f"seed {found['seed']}: {cpu:.0f} CPU s, of which {whole:.1f} ({whole / cpu:.1%}): {parts}"
    )
    rows = sorted(
        found["programs"].items(),
        key=lambda item: -sum(item[1].get(stage, 0.0) for stage in (*STAGES.values(), "loading")),
    )
    print(f"  {'program':44} {'traced':>13} {'lowered':>13} {'compiled':>13} {'loaded':>13}")
    for name, row in rows[:30]:
        cells = [
            f"{row.get(stage, 0.0):7.2f} /{row.get(f'{stage} times', 0):4d}"
            for stage in ("tracing", "lowering", "compiling", "loading")
        ]
        print(f"  {name:44} {' '.join(cells)}")
    print("  (CPU seconds / times)")


def main() -> None:
    """Run the campaigns and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--cache", type=Path, help="of programs; by default an empty one")
    parser.add_argument("--output", type=Path, help="JSON to write")
    parser.add_argument("words", nargs="*", help="options of mfal discover, after --")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as made:
        for seed in options.seeds:
            found.append(campaign(seed, options.cache or Path(made), options.words))
            show(found[-1])
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
elif __name__ == "sitecustomize" and FOLDER in os.environ:
    take_notes()
