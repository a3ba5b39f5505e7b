"""A plain NumPy twin of the step of a coding network: the oracle of the compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.network.streams import stream_key
from mpi_engine.run.coding import CodingSimulation

Floats = NDArray[np.float64]


def philox(key: tuple[int, int], ids: NDArray[np.int64], counter: int) -> NDArray[np.uint32]:
    """Philox4x32-10 of Salmon et al. (2011): four words for each id, by word, then id."""
    mask = np.uint64(0xFFFFFFFF)
    c = [ids.astype(np.uint64), np.full(ids.size, counter, np.uint64), *np.zeros((2, ids.size), np.uint64)]
    k = [np.uint64(word) for word in key]
    for _ in range(10):
        left, right = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(right >> np.uint64(32)) ^ c[1] ^ k[0], right & mask, (left >> np.uint64(32)) ^ c[3] ^ k[1], left & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return np.array(c).astype(np.uint32)


class CodingTwin:
    """Takes over the network of a simulation on one rank before its first step, and follows it by dense matrices."""

    def __init__(self, simulation: CodingSimulation) -> None:
        self.experiment = e = simulation.experiment
        self.D = simulation.vectors.T                                        # (K, N)
        square = (self.D**2).sum(axis=0)
        self.mu = e.network.quadratic_cost * square.mean()
        self.T = (square + self.mu + e.network.linear_cost * square.mean()) / 2
        self.rate, self.dt = e.network.leak_per_s, e.run.dt_ms * 1e-3
        self.a = np.exp(-self.rate * self.dt)
        self.sigma = e.network.noise * self.T * np.sqrt(1 - self.a**2)
        self.key = tuple(int(word) for word in stream_key(e.seed.noise, "coding noise"))
        self.A, self.theta0 = simulation.basis.A.T.copy(), simulation.basis.offset.copy()
        self.C = simulation.units.mixing if simulation.units.mixing.size else np.eye(self.A.shape[0])
        self.M = simulation.basis.dense.T.copy()                             # (Nb, N), or no columns
        self.by_synapse = e.learning.form == "per_synapse"
        n_basis = self.A.shape[0]
        self.W = simulation.basis.weights.copy() if self.by_synapse else np.zeros((n_basis, e.network.size))
        self.exists = simulation.basis.exists if self.by_synapse else 1.0
        self.V, self.r = np.zeros(e.network.size), np.zeros(e.network.size)
        self.slow = np.zeros(e.network.size)
        self.alive = np.ones(e.network.size, bool)
        self.waiting: list[list[int]] = [[] for _ in range(e.steps(e.network.lateral_delay_ms))]

    @property
    def readout(self) -> Floats:
        return self.D @ self.r

    def step(self, n: int, x: Floats, c: Floats, k: float, eta: float) -> list[int]:
        """Do step n and return who spiked, in this order."""
        e = self.experiment
        error = x - self.readout
        u = self.M @ self.r if self.M.shape[1] else self.A @ self.readout
        psi = self.C @ np.tanh(u + self.theta0)
        leak = self.rate * self.readout if e.network.compensates_leak else 0.0
        words = philox(self.key, np.arange(e.network.size), n // 4)[n % 4]
        xi = np.sqrt(12.0) * (words.view(np.int32) + 0.5) * 2.0**-32
        drive = self.slow + self.D.T @ (leak + c + k * error)
        self.V = self.a * self.V + (1 - self.a) / self.rate * drive + self.sigma * xi
        self.slow = self.W.T @ psi
        kept = 1 - e.learning.decay_per_s * self.dt
        self.W = kept * self.W + self.dt * eta * np.outer(psi, self.D.T @ error) * self.exists
        self.r *= self.a
        return self._spike()

    def _spike(self) -> list[int]:
        above = np.where(self.alive, self.V - self.T, -np.inf)
        candidates = [i for i in np.argsort(-above, kind="stable") if above[i] > 0]
        candidates = candidates[: self.experiment.network.spikes_per_step]
        overlap = self.D.T @ self.D
        fired: list[int] = []
        score = {i: above[i] for i in candidates}
        while score and max(score.values()) > 0:
            i = max(score, key=lambda j: (score[j], -j))
            del score[i]
            fired.append(int(i))
            if not self.waiting:
                score = {j: value - overlap[i, j] for j, value in score.items()}
        for i in fired:
            self.V[i] -= self.mu
            self.r[i] += 1.0
            if self.waiting:
                self.V[i] -= overlap[i, i]
            else:
                self.V -= overlap[i]
        if self.waiting:
            for i in self.waiting.pop(0):
                self.V -= np.where(np.arange(self.V.size) == i, 0.0, overlap[i])
            self.waiting.append(fired)
        return fired


def signals_of(simulation: CodingSimulation, step: int) -> tuple[Any, ...]:
    """What drives the step after a number of steps."""
    window = simulation.course.window
    m = step - window.first
    return window.x[m], window.c[m], window.feedback[m], window.learning_rate[m]
