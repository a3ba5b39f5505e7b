"""Akil, Rosenbaum & Josić, Balanced networks under spike-time dependent plasticity, PLoS Comput. Biol. 2021."""
