"""Compiled gradients of Gaussian clients: fresh features x = A z with A A^T = H_i, or true gradients.

For a dense H the factor A is lower triangular, which halves the work, and 64 samples are multiplied by A together.
Every number is a sum in a fixed order, which does not depend on the other samples. With a diagonal or reflected H a
sample takes O(d) time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.compilation import kernel
from ..engine.operations.problem import gradient
from ..engine.ordered_sums import dot, residual
from ..engine.random_streams import DATA, Stream, key, normal_pair, normals, padded, threefry
from ..engine.schedule import END_ROUND, FIRST_JOB, FIRST_ROUND, Schedule
from .population import Covariance

TILE = 64
"""Samples that are drawn and multiplied by A together."""

DENSE, DIAGONAL, HOUSEHOLDER = 0, 1, 2
"""Shapes of H."""
FIRST, END = range(2)
"""Slots of `held`, the range of the samples in memory."""
CLIENT, ROUND, BLOCK = range(3)
"""Rows of `due` and `tile`: a sample's client, its round and its first block of counters."""
Array = NDArray[np.float64]


class GaussianKernel(NamedTuple):
    """Kernel of fresh samples. Laws are the distinct (H_i, w*_i, noise) on this rank, and forms the distinct H_i."""

    batch: int  # samples of a gradient
    shape: int  # DENSE, DIAGONAL or HOUSEHOLDER
    first: int  # the number of the first hosted client
    law: NDArray[np.int32]  # (hosted,): the law of each hosted client
    form: NDArray[np.int32]  # (laws,): the form of each law
    factors: Array  # DENSE: (forms, d', d') lower triangular, d' = d rounded up to a multiple of 4, zero beyond d
    scales: Array  # not DENSE: (forms, d), square roots of the eigenvalues
    optima: Array  # (laws, d)
    noise: Array  # (laws,): standard deviations
    single: Array  # not DENSE: the normals of one sample
    z: Array  # (d' + 2, TILE)
    x: Array  # (d', TILE)
    rows: Array  # (samples held, d)
    errors: Array  # (samples held,): the label noise of each
    held: NDArray[np.int64]  # slots FIRST, END; a sample has the number batch * (number of its job) + position in it
    order: NDArray[np.uint64]  # (samples held,): positions of the samples, sorted by form
    ends: NDArray[np.int64]  # (forms + 1,): end of each form in `order`
    due: NDArray[np.uint64]  # (3, samples held): rows CLIENT, ROUND, BLOCK
    tile: NDArray[np.uint64]  # (3, TILE): the same rows, for the samples of a tile


class TrueGradientKernel(NamedTuple):
    """Kernel of true gradients, g = H_i (w - w*_i)."""

    shape: int  # DENSE, DIAGONAL or HOUSEHOLDER
    law: NDArray[np.int32]  # (hosted,): the law of each hosted client
    form: NDArray[np.int32]  # (laws,): the form of each law
    matrices: Array  # DENSE: (forms, d, d), H_i
    eigenvalues: Array  # not DENSE: (forms, d)
    optima: Array  # (laws, d)
    difference: Array  # (d,): w - w*_i


@kernel
def law_of(k: GaussianKernel | TrueGradientKernel, client: int | np.int64) -> int | np.int64:
    """Return the law of a hosted client.

    If all clients have the same law, the array `law` is not read: a few clients out of a million are far apart in it.
    """
    return np.int64(k.law[client]) if len(k.form) > 1 else 0


@kernel
def fill_tile(k: GaussianKernel, seed: np.uint64, form: int, at: int | np.int64, count: int | np.int64) -> None:
    """Draw the samples k.order[at : at + count], at most TILE and all of the form `form`, into k.rows and k.errors."""
    d, word, rows, z, x = k.rows.shape[1], key(seed, DATA), k.order[at : at + count], k.z, k.x
    clients, rounds, blocks = k.tile[CLIENT], k.tile[ROUND], k.tile[BLOCK]
    for r in range(count):
        clients[r], rounds[r], blocks[r] = k.due[CLIENT, rows[r]], k.due[ROUND, rows[r]], k.due[BLOCK, rows[r]]
    pairs = (d + 1) // 2
    for m in range(pairs + 1):
        for r in range(TILE):
            a, b = threefry(word, clients[r], rounds[r], blocks[r] + np.uint64(m))
            z[2 * m, r], z[2 * m + 1, r] = normal_pair(a, b)
    colour(k.factors[form], z, x)
    for r in range(count):
        law = law_of(k, np.int64(clients[r]) - k.first)
        k.errors[rows[r]] = k.noise[law] * z[2 * pairs, r]
        row = k.rows[rows[r]]
        for j in range(d):
            row[j] = x[j, r]


@kernel
def colour(factor: Array, z: Array, x: Array) -> None:
    """x <- factor z for a lower triangular factor of shape (d', d'), with d' a multiple of 4.

    z and x have TILE columns. The product is computed in blocks of 4 rows by 4 columns, and each entry is a plain sum
    over ascending columns. Diagonal blocks are used as a whole. This changes no entry, since the factor is zero above
    the diagonal and z is finite.
    """
    for j in range(0, len(factor), 4):
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        for r in range(TILE):
            x0[r] = x1[r] = x2[r] = x3[r] = 0.0
        for k in range(0, j + 4, 4):
            a0, b0, c0, e0 = factor[j, k], factor[j, k + 1], factor[j, k + 2], factor[j, k + 3]
            a1, b1, c1, e1 = factor[j + 1, k], factor[j + 1, k + 1], factor[j + 1, k + 2], factor[j + 1, k + 3]
            a2, b2, c2, e2 = factor[j + 2, k], factor[j + 2, k + 1], factor[j + 2, k + 2], factor[j + 2, k + 3]
            a3, b3, c3, e3 = factor[j + 3, k], factor[j + 3, k + 1], factor[j + 3, k + 2], factor[j + 3, k + 3]
            for r in range(TILE):
                z0, z1, z2, z3 = z[k, r], z[k + 1, r], z[k + 2, r], z[k + 3, r]
                x[j, r] = (((x[j, r] + a0 * z0) + b0 * z1) + c0 * z2) + e0 * z3
                x[j + 1, r] = (((x[j + 1, r] + a1 * z0) + b1 * z1) + c1 * z2) + e1 * z3
                x[j + 2, r] = (((x[j + 2, r] + a2 * z0) + b2 * z1) + c2 * z2) + e2 * z3
                x[j + 3, r] = (((x[j + 3, r] + a3 * z0) + b3 * z1) + c3 * z2) + e3 * z3


@kernel
def draw_ahead(k: GaussianKernel, schedule: Schedule, job: int, sample: int, seed: np.uint64) -> None:
    """Draw as many samples as k.rows holds, form by form, beginning with `sample` of `job`."""
    planned = schedule.start[schedule.window[END_ROUND] - schedule.window[FIRST_ROUND]]
    count = min(len(k.order), (planned - job) * k.batch - sample)
    k.held[FIRST] = (schedule.window[FIRST_JOB] + job) * k.batch + sample
    k.held[END] = k.held[FIRST] + count
    k.ends.fill(0)
    stride, step = (k.rows.shape[1] + 1) // 2 + 1, job % schedule.steps
    for i in range(count):
        client = schedule.client[job]
        k.due[CLIENT, i], k.due[ROUND, i] = np.uint64(k.first + client), np.uint64(schedule.round[job])
        k.due[BLOCK, i] = np.uint64((step * k.batch + sample) * stride)
        k.ends[k.form[law_of(k, client)] + 1] += 1
        sample += 1
        if sample == k.batch:
            job, sample = job + 1, 0
            step = step + 1 if step + 1 < schedule.steps else 0
    for form in range(len(k.factors)):
        k.ends[form + 1] += k.ends[form]
    for i in range(count):
        form = k.form[law_of(k, np.int64(k.due[CLIENT, i]) - k.first)]
        k.order[k.ends[form]] = np.uint64(i)
        k.ends[form] += 1
    at = 0
    for form in range(len(k.factors)):
        while at < k.ends[form]:
            lanes = min(TILE, k.ends[form] - at)
            fill_tile(k, seed, form, at, lanes)
            at += lanes


@kernel
def draw_one(k: GaussianKernel, client: int, round: int, sample: int, law: int | np.int64, seed: np.uint64) -> None:
    """Draw one sample of a diagonal or reflected H into k.rows[0] and k.errors[0]."""
    x, pairs = k.rows[0], (k.rows.shape[1] + 1) // 2
    stream, form = Stream(seed, np.uint64(k.first + client), np.uint64(round)), k.form[law]
    normals(stream, DATA, np.uint64(sample * (pairs + 1)), 2 * pairs + 1, k.single)
    k.errors[0] = k.noise[law] * k.single[2 * pairs]
    for j in range(len(x)):
        x[j] = k.scales[form, j] * k.single[j]
    if k.shape == HOUSEHOLDER:
        reflect(x)


@gradient.implement(GaussianKernel)
def sampled_gradient(kernel: GaussianKernel, schedule: Schedule, job: int, seed: np.uint64, w: Array, g: Array) -> None:
    """g <- (1/b) sum over b fresh samples of (<x, w> - y) x."""
    client = schedule.client[job]
    law, weight = law_of(kernel, client), 1.0 / np.float64(kernel.batch)
    optimum, first = kernel.optima[law], (schedule.window[FIRST_JOB] + job) * kernel.batch
    g.fill(0.0)
    for s in range(kernel.batch):
        row = 0
        if kernel.shape != DENSE:
            draw_one(kernel, client, schedule.round[job], job % schedule.steps * kernel.batch + s, law, seed)
        else:
            if not kernel.held[FIRST] <= first + s < kernel.held[END]:
                draw_ahead(kernel, schedule, job, s, seed)
            row = first + s - kernel.held[FIRST]
        x = kernel.rows[row]
        scale = weight * (residual(x, w, optimum) - kernel.errors[row])
        for j in range(len(x)):
            g[j] += scale * x[j]


@kernel
def reflect(x: Array) -> None:
    """x <- (I - (2/d) 1 1^T) x."""
    s0 = s1 = s2 = s3 = np.float64(0.0)
    n = len(x) // 4 * 4
    for j in range(0, n, 4):
        s0 += x[j]
        s1 += x[j + 1]
        s2 += x[j + 2]
        s3 += x[j + 3]
    for j in range(n, len(x)):
        s0 += x[j]
    shift = 2.0 / np.float64(len(x)) * ((s0 + s1) + (s2 + s3))
    for j in range(len(x)):
        x[j] -= shift


@gradient.implement(TrueGradientKernel)
def true_gradient(
    kernel: TrueGradientKernel, schedule: Schedule, job: int, seed: np.uint64, w: Array, g: Array
) -> None:
    """g <- H_i (w - w*_i)."""
    law, v = law_of(kernel, schedule.client[job]), kernel.difference
    form = kernel.form[law]
    for j in range(len(w)):
        v[j] = w[j] - kernel.optima[law, j]
    if kernel.shape == DENSE:
        for j in range(len(w)):
            g[j] = dot(kernel.matrices[form, j], v)
        return
    if kernel.shape == HOUSEHOLDER:
        reflect(v)
    for j in range(len(w)):
        g[j] = kernel.eigenvalues[form, j] * v[j]
    if kernel.shape == HOUSEHOLDER:
        reflect(g)


HELD_BYTES = 64 * 2**20
"""Largest memory, in bytes, for samples that are drawn ahead."""


def gaussian_kernel(clients: Sequence[Any], first: int, batch: int | str) -> GaussianKernel | TrueGradientKernel:
    """Return the kernel for the hosted clients, which are numbered from `first`."""
    laws, law = _distinct(clients)
    forms, form = _distinct([c.covariance for c in laws])
    d, shape = forms[0].dimension, _shape(forms)
    optima = np.array([c.optimum for c in laws], np.float64)
    eigenvalues = np.array([each.eigenvalues for each in forms] if shape != DENSE else np.zeros((1, 1)))
    if batch == "full":
        matrices = np.array([each.dense for each in forms]) if shape == DENSE else np.empty((1, 1, 1))
        return TrueGradientKernel(
            shape=shape,
            law=law,
            form=form,
            matrices=matrices,
            eigenvalues=eigenvalues,
            optima=optima,
            difference=np.empty(d),
        )
    batch = int(batch)
    size = -(-d // 4) * 4 if shape == DENSE else 1
    factors = np.zeros((len(forms) if shape == DENSE else 1, size, size))
    samples = 1
    if shape == DENSE:
        for n, covariance in enumerate(forms):
            factors[n, :d, :d] = _triangular(covariance)
        samples = max(TILE, min(TILE * len(forms), HELD_BYTES // (8 * d)))
    return GaussianKernel(
        batch=batch,
        shape=shape,
        first=first,
        law=law,
        form=form,
        factors=factors,
        scales=np.sqrt(eigenvalues),
        optima=optima,
        noise=np.sqrt(np.array([client.noise_variance for client in laws], np.float64)),
        single=np.empty(padded(d + 2) if shape != DENSE else 1),
        z=np.zeros((2 * ((size + 1) // 2 + 2), TILE)),
        x=np.zeros((size, TILE)),
        rows=np.empty((samples, d)),
        errors=np.empty(samples),
        held=np.full(2, -1, np.int64),
        order=np.empty(samples, np.uint64),
        ends=np.empty(len(factors) + 1, np.int64),
        due=np.empty((3, samples), np.uint64),
        tile=np.zeros((3, TILE), np.uint64),
    )


def _distinct(objects: Sequence[Any]) -> tuple[list[Any], NDArray[np.int32]]:
    """Return the distinct objects, and the index of each object among them."""
    distinct = list({id(each): each for each in objects}.values())
    position = {id(each): n for n, each in enumerate(distinct)}
    return distinct, np.array([position[id(each)] for each in objects], np.int32)


def _shape(covariances: list[Covariance]) -> int:
    if all(c.basis is None for c in covariances):
        return DIAGONAL
    return HOUSEHOLDER if all(isinstance(c.basis, str) for c in covariances) else DENSE


def _triangular(covariance: Covariance) -> Array:
    """Return lower triangular A with A A^T = H, by QR of diag(sqrt eigenvalues) Q^T; H may be singular."""
    root = np.sqrt(covariance.eigenvalues)[:, None] * covariance.rotate(np.eye(covariance.dimension)).T
    r: Array = np.linalg.qr(root).R
    return (r * np.where(np.diag(r) < 0, -1.0, 1.0)[:, None]).T
