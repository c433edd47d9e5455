"""Multi-fidelity active learning for solid-state ionic conductors, in JAX."""

__version__ = "0.2.0.dev0"
