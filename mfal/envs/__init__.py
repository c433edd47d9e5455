"""GFlowNet environments as pure functions."""
