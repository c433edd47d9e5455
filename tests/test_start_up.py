"""What a command loads before it does anything: seconds on every call, if it is too much."""

import os
import subprocess
import sys


def loaded(code: str, names: tuple[str, ...]) -> str:
    """Those of the named modules that are there after a piece of code has run."""
    code = f"import sys\n{code}\nprint([m for m in {names!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_help_loads_no_numbers() -> None:
    code = """
from mfal.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""
    assert loaded(code, ("jax", "numpy", "pymatgen", "rich", "scipy", "shtab")) == "[]"


def test_reading_a_file_and_making_the_oracles_load_what_they_need() -> None:
    code = """
import mfal.cli.score
from mfal.crystals import read_structure
from mfal.oracles import default_oracles, load_oracles
default_oracles()
"""
    needless = (
        *(
            "ase",
            "flax",
            "h5py",
            "matplotlib",
            "mfal.campaign.ledger",
            "networkx",
            "optax",
            "pandas",
        ),
        *("pymatgen.io.cif", "pymatgen.io.vasp", "pyxtal", "scipy.signal", "scipy.stats", "sympy"),
    )
    assert loaded(code, needless) == "[]"


def test_a_campaign_computes_on_one_thread_whatever_the_cores(monkeypatch):
    """Decisions would depend on them; what the user has set is left alone."""
    from mfal.cli.cache import use_one_thread

    for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "8")  # so that what the function sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    use_one_thread()
    assert os.environ["NPROC"] == os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["XLA_FLAGS"] == "--xla_force_host_platform_device_count=2"
