"""A synapse and a rule as a user would write them, for the tests."""

from mpi_engine.user import rule, synapse


@synapse(parameters={"rise_ms": 1.0, "decay_ms": 8.0, "block_mv": -50.0}, state=["fast", "slow"])
def blocked(fast, slow, arrived, V, dt, p):
    fast = fast * (1 - dt / p.rise_ms) + arrived
    slow = slow * (1 - dt / p.decay_ms) + arrived
    return fast, slow, (slow - fast) / (p.decay_ms - p.rise_ms) / (1 + 0.1 * abs(V - p.block_mv))


@rule(
    parameters={"tau_pre_ms": 15.0, "tau_post_ms": 30.0, "rate": 0.01, "threshold_mv": -60.0},
    traces={"x_pre": "tau_pre_ms", "x_post": "tau_post_ms", "y_post": "tau_pre_ms"},
    on_post=lambda w, x_pre, y_post, p: w + p.rate * x_pre * (2 - y_post),
)
def voltage_gated(w, x_post, V, p):
    return w - p.rate * x_post * w if V > p.threshold_mv else w
