"""Materials with labels."""
