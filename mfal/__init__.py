"""Multi-fidelity active learning for solid-state ionic conductors, in JAX."""

from mfal.errors import MfalError, MfalWarning

__all__ = ["MfalError", "MfalWarning", "__version__"]

__version__ = "0.2.0.dev0"
