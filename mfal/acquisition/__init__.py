"""What to ask next, and at which fidelity."""
