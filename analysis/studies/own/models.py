"""A neuron and a plasticity rule of one's own, for `network.toml`."""

from mpi_engine.user import neuron, rule


@neuron(
    parameters={"a_per_ms": 0.02, "b_per_ms": 0.2, "c_mv": -65.0, "d_mv_per_ms": 8.0, "peak_mv": 30.0},
    state={"u": -13.0},
    threshold="peak_mv",
    reset=lambda u, p: (p.c_mv, u + p.d_mv_per_ms),
)
def izhikevich(V, u, I, p):
    """Slopes of V and u (Izhikevich 2003)."""
    return 0.04 * V * V + 5 * V + 140 - u + I, p.a_per_ms * (p.b_per_ms * V - u)


@rule(parameters={"up_mv": 0.02, "down_mv": 0.01, "depolarised_mv": -60.0, "largest_mv": 2.0})
def voltage_gated(w, V, p):
    """Weight after a presynaptic spike, which looks at the target's V (Brader, Senn & Fusi 2007)."""
    return min(w + p.up_mv, p.largest_mv) if V > p.depolarised_mv else max(w - p.down_mv, 0.0)
