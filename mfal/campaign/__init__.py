"""The loop that spends a budget and survives."""
