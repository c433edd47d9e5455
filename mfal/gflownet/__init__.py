"""Policies, losses and training for any environment under the contract."""
