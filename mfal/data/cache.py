"""Where downloads are kept."""

import os
from pathlib import Path

from mfal.errors import MfalError

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder of downloaded data, made if needed: MFAL_CACHE, or the platform's cache folder.

    Raises:
      MfalError: when it can't be written to.
    """
    import platformdirs

    chosen = os.environ.get("MFAL_CACHE")
    folder = Path(chosen) if chosen else platformdirs.user_cache_path("mfal")
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
