"""Zhu, Ocker & Rosenbaum (2026): scaling of membrane-potential variability with conductance-based synapses."""
