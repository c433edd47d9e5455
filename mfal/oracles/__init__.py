"""Sources of values for structures, of rising cost and trust."""
