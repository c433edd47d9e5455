"""Bond-valence site energies of a mobile ion: maps, and the barriers in them."""
