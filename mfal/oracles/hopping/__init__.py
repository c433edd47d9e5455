"""Networks of sites and hops: exact diffusion and kinetic Monte Carlo."""
