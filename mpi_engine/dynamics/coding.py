r"""The step of a coding network, and the block of steps between two events.

Step n takes the network from t_{n-1} to t_n, in this order:

1. the error e = x - x_h of the beginning of the step; the basis psi, its drift f_h, and what it learns from e;
2. membranes: V <- a V + g D^T (f_h + leak x_h + c + k e) + noise, with the drift that the step before agreed upon;
3. one collective: the sum of the drift over all units, and the neurons farthest above threshold;
4. these spike: one, or one after the other as long as one of them is above threshold;
5. readout and slow variables decay, then jump; samples are taken.

a = exp(-lambda dt) and g = (1 - a) / lambda integrate the leak exactly. The drift reaches membranes one step late, so
that one collective is enough for it and for the choice of who spikes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.coding_recorders import (
    Chosen,
    Samples,
    fade_lateral,
    is_due,
    keep,
    note_lateral,
    sample_currents,
    sample_state,
)
from mpi_engine.dynamics.recorders import SpikeRecord
from mpi_engine.dynamics.signals import Signals
from mpi_engine.dynamics.slow import Basis, activate, learn_factored, learn_synapses, sum_drift, sum_excitation
from mpi_engine.dynamics.stopwatch import Laps, begin_laps, end_lap
from mpi_engine.network.consensus import Consensus, agree, begin_message, nominate
from mpi_engine.network.streams import Key, philox

Floats = NDArray[np.float64]

LAPS = ("stimulus", "integrate", "learn", "exchange", "deliver", "record")
"""Which part of a step each of its laps belongs to; see `Stopwatch`."""


class Code(NamedTuple):
    """Constants of a network.

    Parameters
    ----------
    first : int
        Id of the rank's first neuron.
    decay, gain : float
        a and g [s] of a step.
    leak : float
        Rate at which fixed slow connections make up for the leak [1/s]; 0 without them.
    cost : float
        mu, what a spike takes from its neuron beyond its lateral effect.
    dt_s : float
        Time step [s].
    delay : int
        Steps until a spike acts on other neurons.
    drift : int
        Address of the teacher's drift; 0 if the drift is learned.
    """

    first: int
    decay: float
    gain: float
    leak: float
    cost: float
    dt_s: float
    delay: int
    drift: np.uint64


class Neurons(NamedTuple):
    """The rank's neurons, and what all ranks know.

    Parameters
    ----------
    decoder : ndarray of float64, shape (K, n)
        Decoding vectors of the rank's neurons.
    vectors : ndarray of float64, shape (N, K)
        Decoding vectors of all.
    V, threshold : ndarray of float64, shape (n,)
        Membrane potential and threshold, which is infinite for the dead.
    noise : ndarray of float64, shape (n,)
        Noise of a step, for each unit of a random word.
    words : ndarray of uint32, shape (4, n)
        Random words of four steps.
    readout : ndarray of float64, shape (K,)
        x_h.
    drift : ndarray of float64, shape (K,)
        f_h, as agreed upon last.
    late : ndarray of int64, shape (delay, most spikes a step)
        Neurons whose spikes wait to act on others; -1 where there is none.
    """

    decoder: Floats
    vectors: Floats
    V: Floats
    threshold: Floats
    noise: Floats
    words: NDArray[np.uint32]
    readout: Floats
    drift: Floats
    late: NDArray[np.int64]


class Scratch(NamedTuple):
    """Room for a step.

    Parameters
    ----------
    error, external, drive : ndarray of float64, shape (K,)
        e, input and feedback, and all that drives every neuron through its decoding vector.
    fired : ndarray of int64, shape (most spikes a step,)
        Who spikes, in this order.
    net : ndarray of float64, shape (n_mine,)
        Slow currents of the rank's chosen neurons.
    """

    error: Floats
    external: Floats
    drive: Floats
    fired: NDArray[np.int64]
    net: Floats


@intrinsic
def _call_drift(_context: Any, address: Any, t: Any, x: Any, f: Any) -> Any:
    """Call f(t, x) of a teacher through its address."""
    signature = types.void(types.uint64, types.float64, types.uintp, types.uintp)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        address, t, x, f = args
        i64 = ir.IntType(64)
        function = ir.FunctionType(ir.VoidType(), [ir.DoubleType(), i64, i64])
        builder.call(builder.inttoptr(address, function.as_pointer()), [t, x, f])
        return context.get_dummy_value()

    return signature, generate


@part
def _project(decoder: Floats, vector: Floats, scale: float, onto: Floats) -> None:
    """Add scale times D^T vector."""
    for d in range(vector.size):
        amount = scale * vector[d]
        for i in range(onto.size):
            onto[i] += decoder[d, i] * amount


@part
def _integrate(code: Code, neurons: Neurons, basis: Basis, drive: Floats, key: Key, n: int, fresh: bool) -> None:
    """Advance the membrane potentials by a step without spikes."""
    V, noise, words = neurons.V, neurons.noise, neurons.words
    if n % 4 == 0 or fresh:
        for i in range(V.size):
            a, b, c, d = philox(key, code.first + i, n // 4, 0, 0)
            words[0, i] = a
            words[1, i] = b
            words[2, i] = c
            words[3, i] = d
    row = words[n % 4]
    for i in range(V.size):
        V[i] = code.decay * V[i] + noise[i] * (np.float64(np.int32(row[i])) + 0.5)
    _project(neurons.decoder, drive, code.gain, V)
    if basis.weights.shape[0] > 0:
        for i in range(V.size):
            V[i] += code.gain * basis.current[i]


@part
def _nominate_all(c: Consensus, code: Code, neurons: Neurons) -> None:
    """Nominate every neuron above threshold."""
    V, threshold = neurons.V, neurons.threshold
    above = np.int64(0)
    for i in range(V.size):
        above += V[i] > threshold[i]
    if above > 0:
        for i in range(V.size):
            if V[i] > threshold[i]:
                nominate(c, V[i] - threshold[i], code.first + i)


@part
def _choose(c: Consensus, code: Code, neurons: Neurons, fired: NDArray[np.int64]) -> int:
    """Let candidates spike one after the other, the farthest above threshold first; return how many."""
    vectors = neurons.vectors
    count = 0
    for _ in range(c.n_candidates[0]):
        best = -1
        for k in range(c.n_candidates[0]):
            if c.scores[k] > 0.0 and (best < 0 or c.scores[k] > c.scores[best]
                                      or (c.scores[k] == c.scores[best] and c.ids[k] < c.ids[best])):
                best = k
        if best < 0:
            break
        fired[count] = c.ids[best]
        count += 1
        c.scores[best] = 0.0
        if code.delay == 0:
            for k in range(c.n_candidates[0]):
                overlap = 0.0
                for d in range(vectors.shape[1]):
                    overlap += vectors[c.ids[k], d] * vectors[c.ids[best], d]
                c.scores[k] -= overlap
    return count


@part
def _inhibit(code: Code, neurons: Neurons, gid: int) -> None:
    """Apply the lateral effect of a spike to every neuron, itself included."""
    _project(neurons.decoder, neurons.vectors[gid], -1.0, neurons.V)


@part
def _reset(code: Code, neurons: Neurons, gid: int, sign: float) -> None:
    """Take from a neuron what its own spike takes through its decoding vector, or give it back."""
    i = gid - code.first
    if 0 <= i < neurons.V.size:
        square = 0.0
        for d in range(neurons.vectors.shape[1]):
            square += neurons.vectors[gid, d] * neurons.vectors[gid, d]
        neurons.V[i] -= sign * square


@part
def _spike(code: Code, neurons: Neurons, basis: Basis, chosen: Chosen, n: int, scratch: Scratch, count: int) -> None:
    """Apply the spikes of a step, and those of earlier ones that act late on others."""
    for k in range(count):
        gid = scratch.fired[k]
        i = gid - code.first
        if 0 <= i < neurons.V.size:
            neurons.V[i] -= code.cost
        if code.delay == 0:
            _inhibit(code, neurons, gid)
            note_lateral(chosen, neurons.vectors, gid)
        else:
            _reset(code, neurons, gid, 1.0)
        for d in range(neurons.readout.size):
            neurons.readout[d] += neurons.vectors[gid, d]
        if basis.dense.shape[0] > 0:
            row = basis.dense[gid]
            for j in range(basis.u.size):
                basis.u[j] += row[j]
    if code.delay > 0:
        late = neurons.late[n % code.delay]
        for k in range(late.size):
            if late[k] >= 0:
                _inhibit(code, neurons, late[k])
                _reset(code, neurons, late[k], -1.0)
                note_lateral(chosen, neurons.vectors, late[k])
            late[k] = scratch.fired[k] if k < count else -1


@part
def _sample_currents(
    code: Code, neurons: Neurons, basis: Basis, chosen: Chosen, c: Consensus, s: Scratch, n: int
) -> None:
    """Sample the rank's chosen neurons; what makes up for the leak, and the exact drift, count with their sign."""
    K = neurons.readout.size
    excitation = c.sums[K:]
    for k in range(chosen.ids.size):
        learned, leak = 0.0, 0.0
        for d in range(K):
            learned += neurons.vectors[chosen.ids[k], d] * neurons.drift[d]
            leak += neurons.vectors[chosen.ids[k], d] * (code.leak * neurons.readout[d])
        own = k - chosen.begin
        if 0 <= own < chosen.local.size:
            if basis.weights.shape[0] > 0:
                learned = basis.current[chosen.local[own]]
            s.net[own] = learned + leak
        excitation[k] += max(leak, 0.0) if code.drift == 0 else max(learned + leak, 0.0)
    sample_currents(chosen, neurons.V, excitation, s.net, s.external, neurons.vectors, n)


@kernel
def block(
    first: int, last: int, key: Key, code: Code, neurons: Neurons, basis: Basis, signals: Signals, c: Consensus,
    scratch: Scratch, samples: Samples, chosen: Chosen, spikes: SpikeRecord, progress: NDArray[np.int64],
    laps: Laps,
) -> tuple[int, int]:
    """Collective. Do the steps from first to last, or to the one after which a status word is raised.

    Returns
    -------
    step, status : int
        The last step that was done, and the status words of all ranks, or-ed.
    """
    K = neurons.readout.size
    error, external, drive, readout = scratch.error, scratch.external, scratch.drive, neurons.readout
    by_synapse = basis.weights.shape[0] > 0
    for n in range(first, last + 1):
        begin_laps(laps, n)
        m = n - 1 - signals.first
        eta = signals.learning_rate[m]
        # 1 error, basis and drift
        for d in range(K):
            error[d] = signals.x[m, d] - readout[d]
            external[d] = signals.c[m, d] + signals.feedback[m] * error[d]
            drive[d] = neurons.drift[d] + code.leak * readout[d] + external[d]
        end_lap(laps, n)
        unhealthy = 0
        if code.drift != 0:
            _call_drift(code.drift, (n - 1) * code.dt_s, readout.ctypes.data, neurons.drift.ctypes.data)
        else:
            activate(basis, readout)
            unhealthy = sum_drift(basis, c)
        if is_due(chosen.interval, n):
            unhealthy |= sum_excitation(basis, neurons.vectors, chosen, c)
        begin_message(c, unhealthy)
        # 2 membranes, and learning, which acts from the next step on
        _integrate(code, neurons, basis, drive, key, n, n == first)
        end_lap(laps, n)
        if by_synapse:
            for i in range(basis.feedback.size):
                basis.feedback[i] = 0.0
            _project(neurons.decoder, error, 1.0, basis.feedback)
            learn_synapses(basis, code.dt_s * eta)
        elif eta != 0.0 or basis.kept[0] != 1.0:
            learn_factored(basis, error, code.dt_s * eta)
        end_lap(laps, n)
        # 3 collective
        _nominate_all(c, code, neurons)
        status = agree(c)
        if code.drift == 0 and not by_synapse:
            for d in range(K):
                neurons.drift[d] = c.sums[d]
        end_lap(laps, n)
        # 4 decay, and spikes
        for d in range(K):
            readout[d] *= code.decay
        if basis.dense.shape[0] > 0:
            for j in range(basis.u.size):
                basis.u[j] *= code.decay
        fade_lateral(chosen)
        count = _choose(c, code, neurons, scratch.fired)
        _spike(code, neurons, basis, chosen, n, scratch, count)
        end_lap(laps, n)
        # 5 record
        progress[0] = n
        progress[1] += count
        keep(spikes, scratch.fired, count, n)
        sample_state(samples, signals.x[m + 1], readout, signals.c[m], n)
        if is_due(chosen.interval, n):
            _sample_currents(code, neurons, basis, chosen, c, scratch, n)
        end_lap(laps, n)
        if status != 0 or (spikes.steps.size > 0 and spikes.kept[0] + scratch.fired.size > spikes.steps.size):
            return n, status
    return last, 0
