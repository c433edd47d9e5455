"""Learned predictors with honest uncertainty."""
