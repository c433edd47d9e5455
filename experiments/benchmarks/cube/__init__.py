"""Search of a unit cube at several fidelities, to be compared with botorch's on known functions."""
