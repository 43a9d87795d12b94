"""Worlds, sources, mixture, packing: everything between a problem and a batch; never jax."""
