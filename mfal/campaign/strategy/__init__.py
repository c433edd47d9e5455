"""Who decides what to ask."""
