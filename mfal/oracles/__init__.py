"""Sources of values for structures, of rising cost and trust."""

from typing import TYPE_CHECKING, Any

from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from mfal.oracles.ladder import (
        MapOptions,
        bvse_oracle,
        conductivity_oracle,
        default_oracles,
        sendek_oracle,
    )

__all__ = [
    "MapOptions",
    "Observation",
    "Oracle",
    "bvse_oracle",
    "conductivity_oracle",
    "default_oracles",
    "sendek_oracle",
]


def __getattr__(name: str) -> Any:
    # Compilers and structure libraries are loaded when an oracle is asked for, not before.
    if name in __all__:
        from mfal.oracles import ladder

        return getattr(ladder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
