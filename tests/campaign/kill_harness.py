"""Kill a small campaign over and over, and compare each resumed one with the unbroken one.

    python kill_harness.py statements FOLDER
    python kill_harness.py instants FOLDER NUMBER

A process of its own, which holds no threads: every campaign runs in a fork of it. Prints one line
of JSON: how many were killed, and where the results differed.
"""

import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import toy_campaign

from mfal.campaign.loop import run_campaign

# Two rounds hold every kind of write, the second one after answers of the first.
CONFIG = replace(toy_campaign.CONFIG, rounds=2, budget=11.0)
WRITES = ("BEGIN", "INSERT", "COMMIT", "CREATE", "PRAGMA")


def run(folder: Path) -> None:
    run_campaign(
        folder,
        CONFIG,
        executor=toy_campaign.InstantExecutor(),
        strategy=toy_campaign.strategy(),
        baseline=toy_campaign.beside(),
    )


def in_fork(work: Callable[[], None]) -> int:
    """The child's process id; its exit code is 0 when the work is done."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def kill_at_statement(number: int) -> None:
    """From now on, die just before the given write reaches the database."""
    connect = sqlite3.connect
    count = itertools.count()

    def look(statement: str) -> None:
        if statement.lstrip().upper().startswith(WRITES) and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(look)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]


def finish(folder: Path) -> list:
    """Resume in a fresh process and read what came of it."""
    _, status = os.waitpid(in_fork(lambda: run(folder)), 0)
    if status != 0:
        return ["the resumed run ended with", status]
    return toy_campaign.digest(folder)


def main() -> None:
    mode, root = sys.argv[1], Path(sys.argv[2])
    start = time.perf_counter()
    reference = finish(root / "reference")
    seconds = time.perf_counter() - start
    killed, wrong = 0, []
    wanted = int(sys.argv[3]) if mode == "instants" else None
    draw = random.Random(0)
    for number in itertools.count():
        folder = root / str(number)

        def work(folder: Path = folder, number: int = number) -> None:
            if mode == "statements":
                kill_at_statement(number)
            run(folder)

        child = in_fork(work)
        if mode == "instants":
            time.sleep(draw.uniform(0.0, seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        was_killed = os.WIFSIGNALED(status)
        # How long a run takes drifts with the machine's load: about one instant in five comes too
        # late, so that instants cover the whole run.
        seconds *= 1.04 if was_killed else 0.85
        killed += was_killed
        if finish(folder) != reference:
            wrong.append(number)
        shutil.rmtree(folder)
        if killed == wanted or number > 9999 or (wanted is None and not was_killed):
            break
    print(json.dumps({"killed": killed, "wrong": wrong, "answers": len(reference[1])}))


if __name__ == "__main__":
    main()
