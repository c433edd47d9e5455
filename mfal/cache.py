"""Where mfal keeps what it can make or fetch again."""

import os
from pathlib import Path

from mfal.errors import MfalError

__all__ = ["cache_folder", "writable_cache_folder"]


def cache_folder() -> Path:
    """MFAL_CACHE, or the platform's cache folder for mfal; it need not exist."""
    if given := os.environ.get("MFAL_CACHE"):
        return Path(given)
    try:
        from platformdirs import user_cache_path
    except ModuleNotFoundError:  # the learning parts work without
        return Path.home() / ".cache" / "mfal"
    return user_cache_path("mfal")


def writable_cache_folder() -> Path:
    """The cache folder, made if needed.

    Raises:
      MfalError: when it can't be written to.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MfalError(
            f"the cache folder {folder} cannot be written ({error.strerror})",
            "set MFAL_CACHE to a folder that can",
        ) from None
    return folder
