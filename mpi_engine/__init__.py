"""Steelyard's engine: one simulation of a spiking network on many MPI ranks."""

__version__ = "0.1.0"
