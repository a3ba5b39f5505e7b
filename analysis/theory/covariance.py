r"""Linear theory of covariance in the balanced state, and what it adds to the averages that a plasticity rule sees.

Balance holds for fluctuations as it does for means, :math:`W \tilde D\,\delta s + W_X \tilde D_X\,\delta s_X = 0`
at each frequency f, with synaptic kernels :math:`\tilde D = 1/(1 + 2\pi i f \tau)`, so that the network's spikes follow
its input's, :math:`\delta s = R\,\delta s_X` (Baker et al. 2019; Akil, Rosenbaum & Josić 2021).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.theory.balance import Array, MeanField, NoBalance, couplings, stationary_inputs
from mpi_engine.experiment import Experiment

Spectrum = NDArray[np.complex128]


def correlated_count_covariance(experiment: Experiment, field: MeanField, window_ms: float) -> Array:
    r"""Mean spike-count covariance of pairs, for correlated input: of order one.

    .. math:: C = T\,W^{-1} W_X\,\mathrm{diag}(c\,r_X)\,W_X^T W^{-T}

    in windows T much longer than the jitter and the synaptic time constants (Akil et al. 2021).

    Parameters
    ----------
    experiment : Experiment
        For the inputs' correlations c.
    field : MeanField
        The network.
    window_ms : float
        T [ms].

    Returns
    -------
    ndarray
        C [K, K], spikes squared.
    """
    shared = np.array([train.correlation for train, _ in stationary_inputs(experiment).values()])
    return _propagate(field, window_ms * shared * field.input_rates_khz)


def asynchronous_count_covariance(experiment: Experiment, field: MeanField, window_ms: float) -> Array:
    r"""Mean spike-count covariance of pairs, for independent input: of order 1/N.

    .. math:: C = T\,W^{-1} W_X\,\mathrm{diag}(r_X / N_X)\,W_X^T W^{-T}

    (Rosenbaum et al. 2017; Akil et al. 2021). Parameters as for `correlated_count_covariance`.
    """
    sizes = np.array([train.size for train in experiment.trains.values()])
    return _propagate(field, window_ms * field.input_rates_khz / sizes)


def _propagate(field: MeanField, input_variance: Array) -> Array:
    response = np.linalg.solve(field.recurrent, field.feedforward)
    covariance: Array = response * input_variance @ response.T
    return covariance


def cross_spectrum(
    experiment: Experiment, frequencies_khz: Array, weights_mv: Mapping[str, float] | None = None
) -> Spectrum:
    r"""Cross-spectra of pairs, :math:`S(f) = R\,c\,r_X e^{-4\pi^2 f^2 \sigma^2} R^*`, in the limit of large N.

    Parameters
    ----------
    experiment : Experiment
        The description.
    frequencies_khz : ndarray
        f [F].
    weights_mv : mapping, optional
        Mean weights by projection, see `mean_field`.

    Returns
    -------
    ndarray
        S [F, K + M, K + M] in kHz, populations before inputs. Element (a, b) is the Fourier transform of
        :math:`\langle s_a(t + u)\,s_b(t) \rangle` over u.
    """
    f = frequencies_khz[:, None]
    k, m = len(experiment.populations), len(experiment.trains)
    w = np.zeros((len(f), k, k + m), dtype=np.complex128)
    for part in couplings(experiment, weights_mv):
        w[:, part.target, part.source] += part.strength_mv / (1 + 2j * np.pi * frequencies_khz * part.tau_ms)
    network = -np.linalg.solve(w[:, :, :k], w[:, :, k:])
    response = np.concatenate([network, np.broadcast_to(np.eye(m), (len(f), m, m))], axis=1)
    inputs = stationary_inputs(experiment).values()
    shared = np.array([1e-3 * train.correlation * rate_hz for train, rate_hz in inputs])
    jitter = np.array([train.jitter_ms for train, _ in inputs])
    power = shared * np.exp(-((2 * np.pi * f * jitter) ** 2))
    spectrum: Spectrum = (response * power[:, None, :]) @ response.conj().transpose(0, 2, 1)
    return spectrum


def trace_covariance(experiment: Experiment, tau_ms: float, weights_mv: Mapping[str, float] | None = None) -> Array:
    r"""Compute what covariance adds to the mean product of a trace and a spike train.

    .. math::
        \langle x_a S_b \rangle = \tau r_a r_b + I_{ab}, \qquad
        I_{ab} = \int df\,\frac{\tau}{1 + 2\pi i f \tau} S_{ab}(f)

    (Akil et al. 2021), by the trapezoidal rule, which converges exponentially here.

    Parameters
    ----------
    experiment : Experiment
        The description; independent inputs (c = 0) add nothing in the limit of large N.
    tau_ms : float
        Time constant of the trace [ms].
    weights_mv : mapping, optional
        Mean weights by projection, see `mean_field`.

    Returns
    -------
    ndarray
        I [K + M, K + M] in kHz: row the trace, column the spikes; populations before inputs.

    Raises
    ------
    NoBalance
        If a correlated input has no jitter: the spikes' covariance is then singular at zero lag.
    """
    correlated = {name: train for name, (train, _) in stationary_inputs(experiment).items() if train.correlation > 0}
    if not correlated:
        return np.zeros((len(experiment.sizes), len(experiment.sizes)))
    for name, train in correlated.items():
        if train.jitter_ms == 0:
            raise NoBalance(f"no prediction: inputs.{name}.jitter_ms = 0 makes covariances singular at zero lag")
    jitter = min(train.jitter_ms for train in correlated.values())
    slowest = max([tau_ms, *(coupling.tau_ms for coupling in couplings(experiment))])
    step = 1 / (2 * np.pi * slowest) / 4     # a quarter of the nearest pole's distance: error below e^-25
    count = int(np.ceil(1.1 / jitter / step))     # there the Gaussian is below e^-47
    f: Array = step * np.arange(count + 1, dtype=np.float64)
    kernel = 2 * step * tau_ms / (1 + 2j * np.pi * f * tau_ms)     # twice, for negative frequencies are conjugate
    kernel[0] /= 2
    covariance: Array = (kernel[:, None, None] * cross_spectrum(experiment, f, weights_mv)).sum(axis=0).real
    return covariance
