"""Sendek's logistic regression on structural descriptors."""
