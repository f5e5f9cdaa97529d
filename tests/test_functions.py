"""Public functions as PyTorch's: `out=`, NumPy's names of arguments, in-place forms, and corner cases of arguments."""

import math

import pytest

import nbtorch

from .against_torch import assert_same

NAN, INF = math.nan, math.inf


def values(t, dtype="float32"):
    return t.tensor([[3, 1, 2], [1, 5, 4]], dtype=getattr(t, dtype))


# Functions of one matrix: the expression without `out`.
WITH_OUT = {
    "add": lambda t, x, **o: t.add(x, 1, **o),
    "abs": lambda t, x, **o: t.abs(x, **o),
    "sqrt": lambda t, x, **o: t.sqrt(x, **o),
    "floor": lambda t, x, **o: t.floor(x, **o),
    "eq": lambda t, x, **o: t.eq(x, 1, **o),
    "isposinf": lambda t, x, **o: t.isposinf(x, **o),
    "clamp": lambda t, x, **o: t.clamp(x, 2, 3, **o),
    "where": lambda t, x, **o: t.where(x > 2, x, x, **o),
    "sum": lambda t, x, **o: t.sum(x, 0, **o),
    "cumsum": lambda t, x, **o: t.cumsum(x, 1, **o),
    "mean": lambda t, x, **o: t.mean(x, 0, **o),
    "argmax": lambda t, x, **o: t.argmax(x, 1, **o),
    "amax": lambda t, x, **o: t.amax(x, 1, **o),
    "mm": lambda t, x, **o: t.mm(x, x.T, **o),
    "cat": lambda t, x, **o: t.cat((x, x), **o),
    "gather": lambda t, x, **o: t.gather(x, 0, t.tensor([[1, 0, 1]]), **o),
    "zeros": lambda t, x, **o: t.zeros(2, **o),
    "arange": lambda t, x, **o: t.arange(4, **o),
    "special.erf": lambda t, x, **o: t.special.erf(x, **o),
    "linalg.norm": lambda t, x, **o: t.linalg.norm(x, **o),
}


@pytest.mark.parametrize("name", WITH_OUT)
@pytest.mark.parametrize("out", ["float32", "float64", "float16", "int64", "int32", "bool"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_out_is_cast_to_or_refused(name, dtype, out):
    if (name, out) in (("zeros", "bool"), ("arange", "bool"), ("cumsum", "bool")):
        pytest.skip("PyTorch's own choice of what it implements for booleans")
    call = WITH_OUT[name]
    assert_same(lambda t: call(t, values(t, dtype), out=t.empty(0, dtype=getattr(t, out))))


def _out_of_views(t):
    base = t.zeros(4, 6)
    part = base[::2, ::2]
    result = t.mul(values(t), 2, out=part)
    return base, result is part


def _version(t):
    out = t.empty(2, 3)
    t.neg(values(t), out=out)
    return out._version


OUT_BEHAVIOUR = {
    "the object itself is returned": lambda t: (lambda out: t.add(values(t), 1, out=out) is out)(t.empty(2, 3)),
    "views are written through": _out_of_views,
    "the version counts": _version,
    "elements that are lost are warned of": lambda t: t.add(values(t), 1, out=t.zeros(5)),
    "an input may be the output": lambda t: (lambda x: t.cumsum(x, 1, out=x))(values(t)),
    "several results": lambda t: t.max(values(t), 0, out=(t.empty(0), t.empty(0, dtype=t.int64))),
    "several results in a list": lambda t: t.sort(values(t), out=[t.empty(0), t.empty(0, dtype=t.int64)]),
    "indices of a wrong type": lambda t: t.max(values(t), 0, out=(t.empty(0), t.empty(0))),
    "one tensor for two results": lambda t: t.topk(values(t), 1, out=t.empty(0)),
    "a tuple for one result": lambda t: t.exp(values(t), out=(t.empty(0),)),
    "None is none": lambda t: t.exp(values(t), out=None),
    "an input that requires grad": lambda t: t.exp(values(t).requires_grad_(), out=t.empty(0)),
    "an output that requires grad": lambda t: t.exp(values(t), out=t.empty(2, 3, requires_grad=True)),
    "without recording it may": lambda t: _without_recording(t),
    "a comparison of what requires grad": lambda t: t.eq(values(t).requires_grad_(), 1, out=t.empty(0, dtype=t.bool)),
    "repeated memory": lambda t: t.add(values(t), 1, out=t.zeros(1, 3).expand(2, 3)),
    "another type than dtype says": lambda t: t.zeros(2, dtype=t.float64, out=t.empty(0)),
    "factorizations": lambda t: t.linalg.cholesky(values(t) @ values(t).T + t.eye(2), out=t.empty(2, 2)),
}


def _without_recording(t):
    with t.no_grad():
        return t.exp(values(t).requires_grad_(), out=t.empty(0))


@pytest.mark.parametrize("name", OUT_BEHAVIOUR)
def test_out(name):
    assert_same(OUT_BEHAVIOUR[name])


SPELLINGS = {
    "axis": lambda t: t.sum(values(t), axis=0),
    "axis of a method": lambda t: values(t).sum(axis=1, keepdims=True),
    "keepdims": lambda t: t.max(values(t), axis=0, keepdims=True),
    "x": lambda t: t.exp(x=values(t)),
    "a": lambda t: t.reshape(a=values(t), shape=(3, 2)),
    "x1 and x2": lambda t: t.matmul(x1=values(t), x2=values(t).T),
    "x2": lambda t: t.add(values(t), x2=2),
    "sizes and dims": lambda t: [
        values(t).reshape(shape=(3, 2)),
        values(t).view(size=(6,)).view(dtype=t.int32),
        values(t).permute(dims=(1, 0)),
        t.flip(values(t), dims=(0,)),
        values(t).flip(dims=[1]),
        values(t).expand(size=(2, 2, 3)),
        values(t).repeat(repeats=(2, 1)),
        values(t).tile(dims=(2,)),
        values(t).sum_to_size(size=(1, 3)),
    ],
    "axis of linalg": lambda t: t.linalg.norm(values(t), axis=0, keepdims=True),
    "axis and out": lambda t: t.sum(values(t), axis=0, out=t.empty(0)),
    "axis of scans": lambda t: values(t).cumsum(axis=0).softmax(axis=1),
    "axis in place": lambda t: values(t).cumsum_(axis=1),
    "axis of joins": lambda t: t.stack((values(t), values(t)), axis=2),
    "twice": lambda t: t.sum(values(t), axis=0, dim=0),
    "unknown": lambda t: t.sum(values(t), 0, axle=0),
    "unknown of a method": lambda t: values(t).sum(axle=0),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_names_of_arguments_that_numpy_has(name):
    assert_same(SPELLINGS[name])


@pytest.mark.parametrize(
    "name", ["exp_", "abs_", "sqrt_", "neg_", "sigmoid_", "trunc_", "reciprocal_", "square_", "deg2rad_", "negative_"]
)
def test_in_place_functions(name):
    def program(t):
        x = values(t)
        return getattr(t, name)(x) is x, x

    assert_same(program)


def test_every_in_place_function_and_every_function_with_out_is_there():
    torch = pytest.importorskip("torch")
    from nbtorch import functions

    assert not [name for name in functions._METHODS if not hasattr(torch, name)]
    assert all(callable(getattr(nbtorch, name)) for name in functions._METHODS)


# One line each: what an argument, a type or a value at the edge of what a function takes comes to.
CORNERS = {
    "max gives NaN its gradient": lambda t: _gradient(t, lambda x: x.max(), [NAN, 1.0, NAN]),
    "amax of ties": lambda t: _gradient(t, lambda x: x.amax(), [2.0, 1.0, 2.0]),
    "max of booleans": lambda t: t.tensor([[True, False]]).max(1),
    "argmax of booleans": lambda t: t.tensor([True]).argmax(),
    "argmax of nothing": lambda t: t.empty(0).argmax(),
    "amax of nothing": lambda t: t.empty(0, 3).amax(0),
    "amax of an empty batch": lambda t: t.empty(0, 3).amax(1),
    "max without dim but keepdim": lambda t: t.ones(3).max(keepdim=True),
    "prod over several": lambda t: t.ones(2, 2).prod((0, 1)),
    "all over nothing": lambda t: t.ones(2, 2).all(()),
    "all of bytes": lambda t: t.tensor([1, 2], dtype=t.uint8).all(),
    "sum over a text": lambda t: t.ones(2).sum("a"),
    "sum over True": lambda t: t.ones(2).sum(True),
    "sum over a tensor": lambda t: t.ones(2, 3).sum(t.tensor(1)),
    "sum to an integer type": lambda t: t.ones(2, requires_grad=True).sum(dtype=t.int64),
    "logsumexp over None": lambda t: t.ones(2).logsumexp(None),
    "var unbiased": lambda t: values(t).var(0, False),
    "var by position": lambda t: values(t).var(1, True, True),
    "var of one": lambda t: t.ones(1).var(),
    "var of integers": lambda t: values(t, "int64").var(),
    "std_mean": lambda t: t.std_mean(values(t), 0, True, True),
    "norm nuc": lambda t: t.norm(values(t), "nuc"),
    "norm unknown": lambda t: t.norm(values(t), "x"),
    "norm -1 of nothing": lambda t: t.empty(0).norm(-1),
    "norm inf of nothing": lambda t: t.empty(0, 2).norm(INF, 0),
    "norm 0": lambda t: values(t).requires_grad_().norm(0),
    "sign of NaN": lambda t: t.sign(t.tensor([NAN, -INF, -0.0])),
    "sign of booleans": lambda t: t.tensor([True, False]).sign(),
    "sigmoid of infinities": lambda t: t.sigmoid(t.tensor([INF, -INF, NAN])),
    "heaviside of NaN": lambda t: t.heaviside(t.tensor([NAN]), t.tensor([1.0])),
    "abs of booleans": lambda t: t.tensor([True]).abs(),
    "frac of integers": lambda t: t.tensor([1]).frac(),
    "invert a float": lambda t: ~t.ones(1),
    "plus booleans": lambda t: +t.tensor([True]),
    "division of nothing by zero": lambda t: t.empty(0, dtype=t.int64) // 0,
    "division by zero": lambda t: t.tensor([1]) // 0,
    "remainder by zero": lambda t: t.tensor([1]) % 0,
    "floats by zero": lambda t: t.tensor([1.0, -1.0, 0.0]) // 0,
    "floor and trunc of negatives": lambda t: [
        t.div(t.tensor([-7, 7]), 2, rounding_mode=m) for m in ("floor", "trunc")
    ],
    "smallest integer": lambda t: t.tensor([-128], dtype=t.int8) // t.tensor([1], dtype=t.int8),
    "negative integer exponents": lambda t: 2 ** t.tensor([-1, 0, 3]),
    "powers of minus one": lambda t: t.tensor([-1, 1, 2]) ** t.tensor([-3, -2, -1]),
    "hypot of integers": lambda t: t.hypot(t.tensor([3]), t.tensor([4])),
    "where with bytes": lambda t: t.where(t.tensor([1, 0], dtype=t.uint8), 1.0, 2.0),
    "a comparison in place": lambda t: _gradient(t, lambda x: x.clone().eq_(1.0).sum(), [1.0, 2.0]),
    "work in place on nothing": lambda t: t.zeros(0, 3).add_(1),
    "the derivative of copysign": lambda t: _gradient(t, lambda x: x.copysign(-1).sum(), [0.0, INF, 2.0]),
    "unique keeps its flag": lambda t: t.tensor([1.0, 1.0], requires_grad=True).unique(),
    "medians of booleans": lambda t: t.tensor([True]).median(),
    "isin of booleans": lambda t: t.isin(t.tensor([True]), t.tensor([True])),
    "products of booleans": lambda t: t.ones(2, 2, dtype=t.bool) @ t.ones(2, 2, dtype=t.bool),
    "trace of booleans": lambda t: t.ones(2, 2, dtype=t.bool).trace(),
    "bucketize across types": lambda t: t.bucketize(t.tensor([1, 3]), t.tensor([0.5, 2.5])),
    "addbmm of bytes": lambda t: t.addbmm(*[t.ones(*s, dtype=t.uint8) for s in ((2, 2), (3, 2, 2), (3, 2, 2))]),
    "beta of integers": lambda t: t.baddbmm(*[t.ones(1, 2, 2, dtype=t.int64)] * 3, beta=0.5),
    "splitting a scalar": lambda t: t.tensor(1.0).split(1),
    "chunks of nothing": lambda t: t.empty(0, 2).chunk(3),
    "narrowing a scalar": lambda t: t.tensor(1.0).narrow(0, 0, 1),
    "unbinding a scalar": lambda t: t.tensor(1.0).unbind(),
    "flipping a scalar": lambda t: t.tensor(1.0).flip(0),
    "gathering from a scalar": lambda t: t.tensor(5.0).gather(0, t.tensor([0, 0])),
    "selecting from a scalar": lambda t: t.tensor(5.0).index_select(0, t.tensor([0, 0])),
    "sum_to_size of booleans": lambda t: t.ones(2, 3, dtype=t.bool).sum_to_size(3),
    "a singular matrix": lambda t: t.linalg.inv(t.zeros(2, 2)),
    "infinite singular values": lambda t: t.linalg.pinv(t.full((2, 2), NAN)),
    "low precision": lambda t: t.linalg.qr(t.ones(2, 2, dtype=t.float16)),
    "R alone": lambda t: t.linalg.qr(t.eye(2, requires_grad=True), mode="r")[1].abs(),
    "a singular triangle": lambda t: t.linalg.solve_triangular(t.zeros(2, 2), t.ones(2, 1), upper=True),
    "a singular system": lambda t: t.linalg.solve_ex(t.ones(2, 2), t.ones(2))[1],
    "range": lambda t: t.range(1, 2, 0.5),
    "logspace": lambda t: t.logspace(0, 2, 5, base=2, dtype=t.float64),
    "constants": lambda t: (t.pi, t.e, t.inf, t.newaxis),
    "airy's derivative": lambda t: t.special.airy_ai(t.ones(1, requires_grad=True)),
    "igamma's edges": lambda t: t.igamma(t.tensor([0.0, 1.0, INF, -1.0, 2.0]), t.tensor([1.0, 0.0, 2.0, 1.0, INF])),
    "apply_": lambda t: values(t).apply_(lambda v: v * 2),
    "map_": lambda t: values(t).map_(values(t), lambda a, b: a + b),
    "unravel_index of floats": lambda t: t.unravel_index(t.ones(1), (2,)),
    "histogram of integers": lambda t: t.histogram(values(t, "int64"), 2),
}


def _gradient(t, function, data):
    x = t.tensor(data, requires_grad=True)
    function(x).backward()
    return x.grad


@pytest.mark.parametrize("name", CORNERS)
def test_corner(name):
    assert_same(CORNERS[name])


EDGES = {
    "gather of nothing": lambda t: t.arange(3.0, requires_grad=True).gather(0, t.empty(2, 0)),
    "take_along_dim from the end": lambda t: t.take_along_dim(t.arange(3.0), t.tensor([-1, 0, -3]), 0),
    "gradient of defaults": lambda t: t.gradient(t.arange(4.0) ** 2, spacing=None, dim=None),
    "clamp_min of booleans": lambda t: t.tensor([True, False]).clamp_min(t.tensor([False, True])),
    "addmv of integers": lambda t: t.addmv(t.ones(2).long(), t.ones(2, 3).long(), t.arange(3), beta=1.6, alpha=2.4),
    "addr of booleans": lambda t: t.addr(t.eye(2).bool(), t.ones(2).bool(), t.zeros(2).bool(), beta=3, alpha=2),
    "addr of integers": lambda t: t.addr(t.arange(2), t.arange(2), t.arange(2), beta=0.5),
    "cov of one variable": lambda t: t.cov(t.tensor([[1.0, 4.0]])),
    "cov of weighted integers": lambda t: t.cov(t.tensor([[1, 4], [2, 0]]), aweights=t.tensor([0.25, 0.5])),
    "sum_to_size": lambda t: t.tensor(True).sum_to_size(()),
    "vander of a number": lambda t: t.linalg.vander(t.tensor(2.0), N=3),
    "power of zero": lambda t: t.eye(2, requires_grad=True).matrix_power(0),
    "ldl of nothing": lambda t: t.linalg.ldl_factor(t.ones(0, 0)),
    "lstsq": lambda t: t.linalg.lstsq(t.eye(3, 2).requires_grad_(), t.ones(3, 1)),
    "__rdiv__": lambda t: t.tensor(2.0).__rdiv__(3.0),
    "__rmatmul__": lambda t: t.ones(2, 2).__rmatmul__(t.arange(4.0).reshape(2, 2)),
    "eq of a number": lambda t: t.eq(2, t.ones(2)),
    "isclose tolerance": lambda t: t.isclose(t.ones(2), t.ones(2), rtol=-1.0),
    "roll of a number": lambda t: t.tensor(1.0).roll(0, 0),
}


@pytest.mark.parametrize("name", EDGES)
def test_functions_at_the_edges_of_their_arguments(name):
    assert_same(EDGES[name])


def _gradient(t, function, *arrays):
    inputs = [t.tensor(a, dtype=t.float64, requires_grad=True) for a in arrays]
    weights = t.arange(1.0, 5.0, dtype=t.float64).reshape(2, 2)
    return t.autograd.grad((function(*inputs) * weights).sum(), inputs)


FACTOR, SYMMETRIC = [[2.0, 0.0], [1.0, 3.0]], [[2.0, 1.0], [1.0, 3.0]]


@pytest.mark.parametrize(
    "program",
    [
        lambda t: _gradient(t, t.cholesky_inverse, FACTOR),
        lambda t: _gradient(t, t.cholesky_solve, SYMMETRIC, FACTOR),
        lambda t: _gradient(t, lambda a: t.linalg.pinv(a, hermitian=True), SYMMETRIC),
        lambda t: _gradient(t, t.nextafter, SYMMETRIC, FACTOR),
    ],
    ids=["cholesky_inverse", "cholesky_solve", "pinv", "nextafter"],
)
def test_gradients_by_parts_that_are_not_read(program):
    assert_same(program)
