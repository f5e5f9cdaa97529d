"""Rows for joining, splitting, repetition, diagonals, triangles, strided views and in-place changes of shape."""

import numpy as np

from .case import EVERYTHING, FLOATS, Case, of


def _shape_in_place(t, a):
    b = a * 1
    b.unsqueeze_(0).transpose_(1, 2)
    return b.squeeze_(0).mul_(2)


def _as_strided_in_place(t, a):
    b = a.contiguous() * 1
    b.as_strided((2, 2), (4, 1), 1).mul_(3)
    return b


def _diagonal_in_place(t, a):
    b = a * 1
    b.diagonal(1).mul_(2)
    return b * b


def _counts(t, a):
    return t.tensor([2, 0, 3], device=a.device)


x, m, v = of(2, 3, 4), of(3, 4), of(5)

CASES = [
    Case("tile", lambda t, a: t.tile(a, (2, 1, 3)), (x,), lambda a: np.tile(a, (2, 1, 3)), EVERYTHING),
    Case("tile-fewer", lambda t, a: a.tile(2), (x,), lambda a: np.tile(a, 2)),
    Case("roll", lambda t, a: t.roll(a, (1, -2), (0, 2)), (x,), lambda a: np.roll(a, (1, -2), (0, 2)), EVERYTHING),
    Case("roll-flat", lambda t, a: a.roll(5), (x,), lambda a: np.roll(a, 5)),
    Case("rot90", lambda t, a: t.rot90(a, 1, (0, 2)), (x,), lambda a: np.rot90(a, 1, (0, 2)), EVERYTHING),
    Case("rot90-3", lambda t, a: a.rot90(-1, (1, 2)), (x,), lambda a: np.rot90(a, -1, (1, 2))),
    Case("rot90-2", lambda t, a: a.rot90(2), (x,), lambda a: np.rot90(a, 2)),
    Case("fliplr", lambda t, a: t.fliplr(a), (x,), np.fliplr),
    Case("flipud", lambda t, a: a.flipud(), (x,), np.flipud),
    Case("repeat_interleave", lambda t, a: a.repeat_interleave(2, 1), (x,), lambda a: a.repeat(2, 1), EVERYTHING),
    Case("repeat_interleave-flat", lambda t, a: t.repeat_interleave(a, 3), (x,), lambda a: a.repeat(3)),
    Case("repeat_interleave-counts", lambda t, a: a.repeat_interleave(_counts(t, a), 1), (x,)),
    Case("hstack", lambda t, a, b: t.hstack((a, b)), (m, of(3, 2)), lambda a, b: np.hstack((a, b)), EVERYTHING),
    Case("hstack-1d", lambda t, a, b: t.hstack((a, b)), (v, of()), lambda a, b: np.hstack((a, b))),
    Case("vstack", lambda t, a, b: t.vstack((a, b)), (m, of(4)), lambda a, b: np.vstack((a, b))),
    Case("dstack", lambda t, a, b: t.dstack((a, b)), (m, m), lambda a, b: np.dstack((a, b))),
    Case("column_stack", lambda t, a, b: t.column_stack((a, b)), (m, of(3)), lambda a, b: np.column_stack((a, b))),
    Case("atleast_3d", lambda t, a, b, c: t.atleast_3d(a, b, c), (of(), v, m), np.atleast_3d),
    Case("tensor_split", lambda t, a: a.tensor_split(3, 2), (x,), lambda a: tuple(np.array_split(a, 3, 2))),
    Case("tensor_split-at", lambda t, a: a.tensor_split((1, -1), 2), (x,), lambda a: tuple(np.split(a, (1, -1), 2))),
    Case("hsplit", lambda t, a: t.hsplit(a, 2), (m,), lambda a: tuple(np.hsplit(a, 2))),
    Case("vsplit", lambda t, a: a.vsplit([1]), (m,), lambda a: tuple(np.vsplit(a, [1]))),
    Case("dsplit", lambda t, a: t.dsplit(a, 2), (x,), lambda a: tuple(np.dsplit(a, 2))),
    Case(
        "meshgrid", lambda t, a, b: t.meshgrid(a, b, indexing="xy"), (of(3), v), lambda a, b: tuple(np.meshgrid(a, b))
    ),
    Case("meshgrid-ij", lambda t, a, b, c: t.meshgrid(a, b, c, indexing="ij"), (of(3), v, of(2))),
    Case("cartesian_prod", lambda t, a, b: t.cartesian_prod(a, b), (of(3), of(2))),
    Case("combinations", lambda t, a: t.combinations(a, 3), (v,)),
    Case("combinations-again", lambda t, a: t.combinations(a, 2, True), (v,)),
    Case("block_diag", lambda t, a, b, c: t.block_diag(a, b, c), (m, of(2), of()), None, EVERYTHING),
    Case("vander", lambda t, a: t.vander(a), (v,), np.vander, gradients=False),
    Case("vander-increasing", lambda t, a: t.vander(a, 3, increasing=True), (v,), gradients=False),
    Case("tril", lambda t, a: a.tril(1), (x,), lambda a: np.tril(a, 1), EVERYTHING),
    Case("triu", lambda t, a: t.triu(a, -1), (x,), lambda a: np.triu(a, -1), EVERYTHING),
    Case("diagonal", lambda t, a: a.diagonal(1, 0, 2), (x,), lambda a: np.diagonal(a, 1, 0, 2), EVERYTHING),
    Case("diagonal-below", lambda t, a: t.diagonal(a, -1, 2, 1), (x,), lambda a: np.diagonal(a, -1, 2, 1)),
    Case("diagonal-outside", lambda t, a: t.diagonal(a, 7), (x,), lambda a: np.diagonal(a, 7)),
    Case("diagonal-inplace", _diagonal_in_place, (m,)),
    Case("diag", lambda t, a: t.diag(a, -1), (v,), lambda a: np.diag(a, -1), EVERYTHING),
    Case("diag-of", lambda t, a: a.diag(1), (m,), lambda a: np.diag(a, 1)),
    Case("diag_embed", lambda t, a: a.diag_embed(1, 0, -1), (x,), None, EVERYTHING),
    Case("diagflat", lambda t, a: a.diagflat(-2), (m,), lambda a: np.diagflat(a, -2)),
    Case("trace", lambda t, a: a.trace(), (m,), np.trace, (*FLOATS, "int32", "int64")),
    Case("as_strided", lambda t, a: t.as_strided(a.contiguous(), (3, 2, 2), (2, 3, 1), 1), (x,), None, EVERYTHING),
    Case("as_strided-inplace", _as_strided_in_place, (m,)),
    Case("unfold", lambda t, a: a.unfold(2, 3, 1), (x,), None, EVERYTHING),
    Case("unfold-step", lambda t, a: a.unfold(0, 2, 2), (of(5, 2),)),
    Case("shape-inplace", _shape_in_place, (m,), lambda a: 2 * a.T),
    Case("diagonal_scatter", lambda t, a, b: a.diagonal_scatter(b, 1), (m, of(3)), None, EVERYTHING),
    Case("select_scatter", lambda t, a, b: t.select_scatter(a, b, 1, -1), (x, of(2, 4)), None, EVERYTHING),
    Case("slice_scatter", lambda t, a, b: a.slice_scatter(b, 2, 1, 4, 2), (x, of(2, 3, 2)), None, EVERYTHING),
    Case("adjoint", lambda t, a: t.adjoint(a) * 1, (x,), lambda a: a.transpose(0, 2, 1)),
]
