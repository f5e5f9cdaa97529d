"""Losses: values, gradients, options, types, errors and modules, as in PyTorch."""

import numpy as np
import pytest

import nbtorch

from ..against_torch import assert_same

torch = pytest.importorskip("torch")


class Numbers:
    """A random input: normal, uniform in [0, 1], signs, counts or log-probabilities."""

    def __init__(self, *shape, kind="normal", grad=True, dtype="float64", seed=0):
        self.shape, self.kind, self.grad, self.dtype, self.seed = shape, kind, grad, dtype, seed

    def tensor(self, library):
        rng = np.random.default_rng(self.seed + len(self.shape))
        values = {
            "normal": lambda: rng.standard_normal(self.shape),
            "uniform": lambda: rng.random(self.shape),
            "sign": lambda: rng.integers(0, 2, self.shape) * 2 - 1,
            "count": lambda: rng.integers(0, 5, self.shape),
        }[self.kind]()
        tensor = library.tensor(np.asarray(values).tolist(), dtype=getattr(library, self.dtype)).reshape(self.shape)
        return tensor.requires_grad_() if self.grad else tensor


def values_of(library, argument):
    return (
        argument.tensor(library)
        if isinstance(argument, Numbers)
        else argument(library)
        if callable(argument)
        else argument
    )


def loss(function, *arguments, second=True, **options):
    """Return a program that computes a loss and its first and second gradients."""

    def program(library):
        inputs = [values_of(library, argument) for argument in arguments]
        given = {name: values_of(library, value) for name, value in options.items()}
        result = getattr(library.nn.functional, function)(*inputs, **given)
        leaves = [x for x in inputs if isinstance(x, library.Tensor) and x.requires_grad]
        if not leaves or not result.requires_grad:
            return result
        weights = (result.detach() * 0 + 1).cumsum(0) if result.ndim else result.detach() * 0 + 2
        first = library.autograd.grad((result * weights).sum(), leaves, create_graph=second)
        ends = [result, [gradient.detach() + 0 for gradient in first]]
        squares = sum((gradient * gradient).sum() for gradient in first)
        if second and squares.requires_grad:
            ends.append(
                [g if g is None else g + 0.0 for g in library.autograd.grad(squares, leaves, allow_unused=True)]
            )
        return ends

    return program


def n(*shape, **options):
    return Numbers(*shape, **options)


def u(*shape, **options):
    return Numbers(*shape, kind="uniform", seed=5, **options)


def w(*shape):
    return u(*shape, grad=False)


def sign(*shape):
    return Numbers(*shape, kind="sign", grad=False)


def other(*shape, **options):
    return Numbers(*shape, seed=9, **options)


def count(*shape):
    return Numbers(*shape, kind="count", grad=False)


def by_shape(shape):
    """Return the calls of elementwise losses for inputs of a shape: function, arguments, options."""
    last = shape[-1:]
    yield "mse_loss", (n(*shape), other(*shape)), {}
    yield "mse_loss", (n(*shape), other(*shape)), {"weight": w(*shape)}
    yield "l1_loss", (n(*shape), other(*shape)), {"second": False}
    yield "l1_loss", (n(*shape), other(*shape)), {"weight": w(*shape), "second": False}
    yield "smooth_l1_loss", (n(*shape), other(*shape)), {}
    yield "smooth_l1_loss", (n(*shape), other(*shape)), {"beta": 0.3}
    yield "smooth_l1_loss", (n(*shape), other(*shape)), {"beta": 0, "second": False}
    yield "huber_loss", (n(*shape), other(*shape)), {"delta": 0.4}
    yield "huber_loss", (n(*shape), other(*shape)), {"weight": w(*shape)}
    yield "kl_div", (n(*shape), u(*shape)), {}
    yield "kl_div", (n(*shape), other(*shape)), {"log_target": True}
    yield "poisson_nll_loss", (n(*shape), count(*shape)), {"full": True}
    yield "poisson_nll_loss", (u(*shape), count(*shape)), {"log_input": False, "eps": 0.1}
    yield "binary_cross_entropy", (u(*shape), u(*shape)), {}
    yield "binary_cross_entropy", (u(*shape), u(*shape)), {"weight": w(*last)}
    yield "binary_cross_entropy_with_logits", (n(*shape), u(*shape)), {}
    yield "binary_cross_entropy_with_logits", (n(*shape), u(*shape)), {"weight": w(*last), "pos_weight": w(*last)}
    yield "soft_margin_loss", (n(*shape), sign(*shape)), {}
    yield "hinge_embedding_loss", (n(*shape), sign(*shape)), {"margin": 0.3, "second": False}
    yield "margin_ranking_loss", (n(*shape), other(*shape), sign(*shape)), {"margin": 0.3, "second": False}
    yield "gaussian_nll_loss", (n(*shape), other(*shape), u(*shape)), {"full": True}
    yield "gaussian_nll_loss", (n(*shape), other(*shape), 0.5), {}
    yield "triplet_margin_loss", (n(*shape), other(*shape), u(*shape)), {"swap": True}
    yield "triplet_margin_loss", (n(*shape), other(*shape), u(*shape)), {"p": 1, "margin": 3.0, "second": False}
    yield "triplet_margin_with_distance_loss", (n(*shape), other(*shape), u(*shape)), {"margin": 2.0}
    if shape:
        yield "multilabel_soft_margin_loss", (n(*shape), u(*shape)), {"weight": w(*last)}
        yield "gaussian_nll_loss", (n(*shape), other(*shape), u(*shape[:-1])), {}
        yield "gaussian_nll_loss", (n(*shape), other(*shape), u(*shape[:-1], 1)), {"eps": 0.3}
        if len(shape) < 3:
            yield "cosine_embedding_loss", (n(*shape), other(*shape), sign(*shape[:-1])), {"margin": 0.2}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 1, 2)], ids=str)
def test_values_and_gradients(shape, reduction):
    for function, arguments, options in by_shape(shape):
        assert_same(loss(function, *arguments, reduction=reduction, **options))


def labels(*values):
    return lambda library: library.tensor(list(values) if len(values) > 1 else values[0])


def logs(*shape, dtype="float64"):
    def make(library):
        values = np.random.default_rng(3).standard_normal(shape)
        values -= np.log(np.exp(values).sum(-1, keepdims=True))
        return library.tensor(values.tolist(), dtype=getattr(library, dtype)).requires_grad_()

    return make


CTC = {
    "padded": (logs(6, 3, 4), labels([1, 2, 3, 1], [2, 2, 1, 1], [3, 3, 3, 3]), (6, 5, 6), (3, 2, 0)),
    "joined": (logs(6, 3, 4), labels(1, 2, 2, 3, 1, 1), (6, 5, 6), (3, 2, 1)),
    "too long": (logs(3, 2, 4), labels([1, 1, 1], [1, 2, 3]), (3, 3), (3, 3)),
    "no time": (logs(3, 2, 4), labels([1, 2], [2, 1]), (0, 3), (2, 1)),
    "nothing": (logs(3, 2, 4), labels([1, 2], [2, 1]), (0, 3), (0, 1)),
    "unbatched": (logs(6, 4), labels(1, 2, 2), labels(5), labels(3)),
    "float32": (logs(4, 2, 3, dtype="float32"), labels([1, 2], [2, 1]), [4, 3], [2, 1]),
    "too much time": (logs(3, 2, 4), labels([1, 2], [2, 1]), (4, 3), (2, 1)),
    "too many labels": (logs(3, 2, 4), labels([1, 2], [2, 1]), (3, 3), (3, 1)),
    "too few lengths": (logs(3, 2, 4), labels([1, 2], [2, 1]), (3,), (2, 1)),
    "int lengths": (logs(6, 4), labels(1, 2, 2), 5, 3),
    "float lengths": (logs(3, 2, 4), labels([1, 2], [2, 1]), labels(3.0, 3.0), labels(2, 1)),
    "mixed lengths": (logs(3, 2, 4), labels([1, 2], [2, 1]), labels(3, 3), (2, 1)),
    "float labels": (logs(3, 2, 4), labels([1.0, 2.0], [2.0, 1.0]), (3, 3), (2, 1)),
}


@pytest.mark.parametrize("options", [{}, {"reduction": "none", "zero_infinity": True}, {"reduction": "sum"}], ids=str)
@pytest.mark.parametrize("arguments", CTC.values(), ids=CTC)
def test_ctc(arguments, options):
    assert_same(loss("ctc_loss", *arguments, second=False, **options))


def test_ctc_with_another_blank():
    assert_same(loss("ctc_loss", logs(5, 2, 4), labels([1, 0], [2, 2]), (5, 5), (2, 2), blank=3, second=False))
    assert_same(loss("ctc_loss", logs(5, 2, 4), labels([1, 2], [2, 2]), (5, 5), (2, 2), blank=4, second=False))


CLASSES = {
    "multilabel": ("multilabel_margin_loss", n(2, 4), labels([3, 0, -1, 1], [-1, 1, 2, 3])),
    "multilabel repeated": ("multilabel_margin_loss", n(2, 3), labels([0, 0, 1], [1, -1, 2])),
    "multilabel unbatched": ("multilabel_margin_loss", n(3), labels(2, 0, -1)),
    "multilabel range": ("multilabel_margin_loss", n(1, 3), labels([0, 3, 1], [0, 0, 0])),
    "multilabel empty": ("multilabel_margin_loss", n(0, 3), lambda t: t.zeros(0, 3, dtype=t.int64)),
    "multilabel shape": ("multilabel_margin_loss", n(2, 3), labels(0, 1, 2)),
    "multilabel type": ("multilabel_margin_loss", n(3), labels(0.0, 1.0, -1.0)),
    "multi": ("multi_margin_loss", n(2, 4), labels(3, 0)),
    "multi unbatched": ("multi_margin_loss", n(3), labels(2)),
    "multi one label": ("multi_margin_loss", n(3), labels([2])),
    "multi range": ("multi_margin_loss", n(2, 3), labels(0, 3)),
    "multi count": ("multi_margin_loss", n(2, 3), labels([0])),
    "multi rank": ("multi_margin_loss", n(2, 3, 1), labels(0, 1)),
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("call", CLASSES.values(), ids=CLASSES)
def test_margins_of_classes(call, reduction):
    if call is CLASSES["multilabel empty"] and reduction == "mean":
        pytest.skip("PyTorch returns uninitialised memory")
    assert_same(loss(*call, reduction=reduction, second=False))
    if call[0] == "multi_margin_loss":
        for options in ({"p": 2, "margin": 0.4}, {"weight": w(4)}, {"weight": w(3)}, {"p": 3}, {"weight": w(1, 3)}):
            assert_same(loss(*call, reduction=reduction, second=False, **options))


PAIRS = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy", "soft_margin_loss"]
PAIRS += ["binary_cross_entropy_with_logits", "hinge_embedding_loss", "poisson_nll_loss"]


@pytest.mark.parametrize("function", PAIRS)
def test_types_shapes_and_bad_input(function):
    def half(dtype, *shape, grad=False):
        return lambda t: (t.ones(*shape, dtype=getattr(t, dtype)) / 2).to(getattr(t, dtype)).requires_grad_(grad)

    for first in ("float32", "float64", "float16", "int64"):
        for second in ("float32", "float64", "float16", "int64"):
            if function == "binary_cross_entropy_with_logits" and first != second:
                continue  # PyTorch computes a part in the input's type
            assert_same(loss(function, half(first, 3), half(second, 3)))
    assert_same(loss(function, half("float32", 3), half("float32", 1)))
    assert_same(loss(function, half("float32", 3), half("float32", 2)))
    assert_same(loss(function, half("float32", 3), half("float32", 3, grad=True), second=False))
    assert_same(loss(function, half("float32", 0), half("float32", 0)))
    assert_same(loss(function, 0.5, half("float32", 3)))
    assert_same(loss(function, half("float32", 3), [0.5]))
    for options in (
        {"reduction": "max"},
        {"reduction": "elementwise_mean"},
        {"size_average": False},
        {"reduce": False},
    ):
        if function != "huber_loss" or "reduction" in options:
            if function == "poisson_nll_loss" and "elementwise_mean" in options.values():
                continue
            assert_same(loss(function, half("float32", 3), half("float32", 3), **options))


def constant(function, **options):
    return loss(function, n(3), sign(3), **options)


PROGRAMS = {
    "huber delta": constant("huber_loss", delta=0),
    "smooth_l1 beta": constant("smooth_l1_loss", beta=-1),
    "mse weight": constant("mse_loss", weight=w(2)),
    "huber weight": constant("huber_loss", weight=w(2)),
    "kl batchmean": loss("kl_div", n(2, 3), u(2, 3), reduction="batchmean"),
    "kl batchmean of a scalar": loss("kl_div", n(), u(), reduction="batchmean"),
    "bce range": loss("binary_cross_entropy", lambda t: t.tensor([1.5]), lambda t: t.ones(1)),
    "bce ends": loss("binary_cross_entropy", lambda t: t.tensor([0.0, 1.0]), lambda t: t.tensor([0.5, 0.5])),
    "bce weight gradient": loss("binary_cross_entropy", u(3), u(3), weight=u(3)),
    "logits weight gradient": loss("binary_cross_entropy_with_logits", n(3), u(3), weight=u(3)),
    "logits pos_weight gradient": loss("binary_cross_entropy_with_logits", n(3), u(3), pos_weight=u(3)),
    "large logits": loss("binary_cross_entropy_with_logits", lambda t: t.tensor([-1e3, 1e3]), lambda t: t.ones(2)),
    "soft margin overflow": loss("soft_margin_loss", lambda t: t.tensor([-1e3]).requires_grad_(), lambda t: t.ones(1)),
    "ranking ranks": loss("margin_ranking_loss", n(3), n(3), sign(1, 3)),
    "cosine target": loss("cosine_embedding_loss", n(2, 3), n(2, 3), sign(2, 3)),
    "cosine ranks": loss("cosine_embedding_loss", n(3), n(3), sign(3)),
    "cosine scalar target": loss("cosine_embedding_loss", n(2, 3), n(2, 3), sign()),
    "gaussian variance": loss("gaussian_nll_loss", n(3), n(3), lambda t: -t.ones(3)),
    "gaussian float": loss("gaussian_nll_loss", n(3), n(3), -0.5),
    "gaussian shape": loss("gaussian_nll_loss", n(3), n(3), u(2)),
    "gaussian rank": loss("gaussian_nll_loss", n(2, 3), n(2, 3), u(3)),
    "gaussian reduction": loss("gaussian_nll_loss", n(3), n(3), u(3), reduction="max"),
    "triplet margin": loss("triplet_margin_loss", n(3), n(3), n(3), margin=0),
    "triplet ranks": loss("triplet_margin_loss", n(3), n(3), n(1, 3)),
    "distance margin": loss("triplet_margin_with_distance_loss", n(3), n(3), n(3), margin=-1.0),
    "distance": loss(
        "triplet_margin_with_distance_loss",
        n(2, 3),
        other(2, 3),
        u(2, 3),
        distance_function=lambda t: lambda a, b: ((a - b) ** 2).sum(1),
        swap=True,
    ),
    "cosine_similarity": loss("cosine_similarity", n(2, 3), other(2, 3)),
    "cosine_similarity broadcast": loss("cosine_similarity", n(2, 3), other(3), dim=-1),
    "cosine_similarity of zeros": loss("cosine_similarity", lambda t: t.zeros(1, 2), lambda t: t.ones(1, 2)),
    "cosine_similarity of integers": loss("cosine_similarity", labels([1, 2], [3, 4]), labels([1, 2], [3, 4])),
    "pairwise_distance": loss("pairwise_distance", n(2, 3), other(2, 3), p=3, keepdim=True),
    "pairwise_distance broadcast": loss("pairwise_distance", n(2, 3), other(3), eps=0.1),
    "normalize": loss("normalize", n(2, 3)),
    "normalize p": loss("normalize", n(2, 3), p=3.0, dim=(0, 1)),
    "normalize zeros": loss("normalize", lambda t: t.zeros(1, 2)),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(reduction, smoothing, weighted):
    options = {"reduction": reduction, "label_smoothing": smoothing, **({"weight": w(3)} if weighted else {})}
    for shape, target in (((4, 3), labels(0, 2, 1, 2)), ((3,), labels(1)), ((1, 3, 2), labels([[0, 2]]))):
        assert_same(loss("cross_entropy", n(*shape), target, **options))
        assert_same(loss("cross_entropy", n(*shape), target, ignore_index=2, **options))
        assert_same(loss("cross_entropy", n(*shape), u(*shape), **options))


def module(name, *inputs, second=False, **options):
    def program(library):
        given = {key: values_of(library, value) for key, value in options.items()}
        made = getattr(library.nn, name)(**given)
        state = dict(made.state_dict())
        return repr(made), state, made.reduction, made(*[values_of(library, argument) for argument in inputs])

    return program


MODULES = {
    "SmoothL1Loss": ((n(3), other(3)), {"beta": 0.5}),
    "HuberLoss": ((n(3), other(3)), {"delta": 0.5, "reduction": "sum"}),
    "KLDivLoss": ((n(2, 3), u(2, 3)), {"reduction": "batchmean"}),
    "PoissonNLLLoss": ((n(3), count(3)), {"full": True, "log_input": True, "eps": 1e-3}),
    "GaussianNLLLoss": ((n(3), other(3), u(3)), {"full": True, "eps": 0.1}),
    "BCELoss": ((u(3), u(3)), {"weight": w(3)}),
    "BCEWithLogitsLoss": ((n(3), u(3)), {"weight": w(3), "pos_weight": w(3)}),
    "SoftMarginLoss": ((n(3), sign(3)), {"reduction": "none"}),
    "HingeEmbeddingLoss": ((n(3), sign(3)), {"margin": 0.5}),
    "CosineEmbeddingLoss": ((n(2, 3), other(2, 3), sign(2)), {"margin": 0.5}),
    "MarginRankingLoss": ((n(3), other(3), sign(3)), {"margin": 0.5}),
    "MultiLabelMarginLoss": ((n(3), labels(2, 0, -1)), {"size_average": False}),
    "MultiLabelSoftMarginLoss": ((n(2, 3), u(2, 3)), {"weight": w(3)}),
    "MultiMarginLoss": ((n(2, 3), labels(1, 2)), {"p": 2, "margin": 0.5, "weight": w(3)}),
    "TripletMarginLoss": ((n(2, 3), other(2, 3), u(2, 3)), {"margin": 2.0, "p": 1.0, "swap": True, "reduce": False}),
    "TripletMarginWithDistanceLoss": ((n(2, 3), other(2, 3), u(2, 3)), {"margin": 2.0, "swap": True}),
    "CTCLoss": ((logs(5, 2, 4), labels([1, 2], [2, 2]), (5, 5), (2, 2)), {"blank": 3, "zero_infinity": True}),
    "L1Loss": ((n(3), other(3)), {"reduce": False}),
    "MSELoss": ((n(3), other(3)), {"size_average": True}),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    inputs, options = MODULES[name]
    assert_same(module(name, *inputs))
    assert_same(module(name, *inputs, **options))
    assert_same(module(name, *inputs, reduction="max"))
    assert_same(lambda library: getattr(library.nn, name)(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))


BAD_MODULES = {
    "p": lambda t: t.nn.MultiMarginLoss(p=3),
    "weight": lambda t: t.nn.MultiMarginLoss(weight=t.ones(2, 2)),
    "margin": lambda t: t.nn.TripletMarginLoss(margin=0),
    "distance margin": lambda t: t.nn.TripletMarginWithDistanceLoss(margin=0),
    "similarity": lambda t: (repr(t.nn.CosineSimilarity(0)), t.nn.CosineSimilarity(0)(t.ones(2, 3), t.eye(2, 3))),
    "distance": lambda t: (repr(t.nn.PairwiseDistance(1.0)), t.nn.PairwiseDistance(1.0)(t.ones(2, 3), t.zeros(3))),
}


@pytest.mark.parametrize("program", BAD_MODULES.values(), ids=BAD_MODULES)
def test_module_options(program):
    assert_same(program)


def test_ctc_gradients_agree_with_finite_differences():
    x = nbtorch.tensor(np.random.default_rng(0).standard_normal((4, 2, 3)).tolist(), dtype=nbtorch.float64)

    def function(scores):
        logs = nbtorch.nn.functional.log_softmax(scores, -1)
        return nbtorch.nn.functional.ctc_loss(logs, nbtorch.tensor([[1, 1], [2, 1]]), (4, 3), (2, 1), reduction="none")

    assert nbtorch.autograd.gradcheck(function, (x.requires_grad_(),))


PREPARED = {
    **{name: (name, n(3, 4), u(3, 4), {}) for name in PAIRS if name not in ("binary_cross_entropy", "kl_div")},
    "binary_cross_entropy": ("binary_cross_entropy", u(3, 4), u(3, 4), {}),
    "kl_div": ("kl_div", n(3, 4), u(3, 4), {"reduction": "batchmean"}),
    "huber_loss, delta": ("huber_loss", n(3, 4), u(3, 4), {"delta": 0.3}),
    "huber_loss, blocks": ("huber_loss", n(3, 1000), n(3, 1000), {"reduction": "sum"}),
    "cross_entropy": ("cross_entropy", n(3, 4), labels(1, 0, 3), {}),
    "cross_entropy, ignored": ("cross_entropy", n(3, 4), labels(1, 0, 3), {"ignore_index": 0, "weight": w(4)}),
    "cross_entropy, spatial": ("cross_entropy", n(2, 3, 5), labels([1, 0, 2, 2, 1], [0, 0, 2, 1, 1]), {"weight": w(3)}),
    "cross_entropy, smoothed": ("cross_entropy", n(3, 40), labels(1, 0, 3), {"label_smoothing": 0.2}),
    "cross_entropy, probabilities": ("cross_entropy", n(3, 4), u(3, 4), {}),
    "cross_entropy, weighted": ("cross_entropy", n(3, 40), u(3, 40), {"weight": w(40), "label_smoothing": 0.2}),
    "nll_loss": ("nll_loss", n(3, 4), labels(1, 0, 3), {"weight": w(4)}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", PREPARED.values(), ids=PREPARED)
def test_gradients_that_the_forward_pass_prepares(call, dtype):
    """They are given away once, only for a gradient of 1, and never after a change in place."""
    name, first, second, options = call

    def program(library):
        kind = getattr(library, dtype)
        x = first.tensor(library).detach().to(kind).requires_grad_()
        target = values_of(library, second)
        target = target.detach().to(kind) if target.is_floating_point() else target
        given = {key: values_of(library, value) for key, value in options.items()}
        given = {key: value.to(kind) if isinstance(value, library.Tensor) else value for key, value in given.items()}

        def gradients(*scales):
            result = getattr(library.nn.functional, name)(x, target, **given)
            found = []
            for scale in scales:
                (gradient,) = library.autograd.grad(result * scale, x, retain_graph=True)
                found.append(gradient + 0)
                gradient.zero_()
            return found

        results = gradients(1, 1), gradients(3, 1, 0), gradients(1, 0.5), gradients(float("inf"))
        result = getattr(library.nn.functional, name)(x, target, **given)
        result.backward(retain_graph=True)
        result.backward()
        return results, x.grad

    assert_same(program)


def test_inputs_changed_after_the_forward_pass_are_noticed():
    for function, target in (("mse_loss", nbtorch.ones(3, 4)), ("cross_entropy", nbtorch.tensor([1, 0, 3]))):
        x = nbtorch.randn(3, 4).requires_grad_()
        y = x * 1
        result = getattr(nbtorch.nn.functional, function)(y, target)
        y.zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.backward()


def test_gradients_of_half_precision_are_prepared_once():
    for function, target in (("mse_loss", nbtorch.ones(3, 4).half()), ("cross_entropy", nbtorch.tensor([1, 0, 3]))):
        x = nbtorch.randn(3, 4).half().requires_grad_()
        result = getattr(nbtorch.nn.functional, function)(x, target)
        first, second, third = (
            nbtorch.autograd.grad(result * scale, x, retain_graph=True)[0] for scale in (4.0, 1.0, 1.0)
        )
        assert first.dtype is nbtorch.float16
        assert first.equal(second * 4)
        assert second.equal(third)


SCORES = {"(3, 4)": (3, 4), "(3, 4, 2)": (3, 4, 2), "(4,)": (4,), "()": (), "(0, 4)": (0, 4), "(3, 0)": (3, 0)}


@pytest.mark.parametrize("shape", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("function", ["nll_loss", "cross_entropy"])
def test_of_several_mistakes_the_same_one_is_told(function, shape):
    def program(target, kind, weight, smoothing):
        def run(library):
            x = library.zeros(shape)
            factors = None if weight is None else library.ones(*weight)
            options = {"label_smoothing": smoothing} if smoothing else {}
            return getattr(library.nn.functional, function)(
                x, library.zeros(target, dtype=getattr(library, kind)), weight=factors, **options
            )

        return run

    for target in ((), (1,), (3,), (2,), (3, 2), (3, 3), (3, 4), (4,), (0,)):
        for kind in ("int64", "int32", "uint8", "float32"):
            for weight in (None, (4,), (3,), (1, 4)):
                assert_same(program(target, kind, weight, 0.0))
            if function == "cross_entropy" and shape:
                assert_same(program(target, kind, None, 0.1))


def test_one_kernel_for_scores_of_several_ranks():
    """Large enough for several threads, which are told the types of the arguments."""
    for shape in ((64, 300), (4, 300, 20), (4, 300, 5, 4)):
        scores = nbtorch.randn(*shape).log_softmax(1)
        labels = nbtorch.randint(0, 300, (shape[0], *shape[2:]))
        picked = -scores.gather(1, labels.unsqueeze(1)).squeeze(1)
        for function in (nbtorch.nn.functional.nll_loss, nbtorch.nn.functional.cross_entropy):
            x = scores.clone().requires_grad_()
            result = function(x, labels)
            result.backward()
            assert float(result.detach()) == pytest.approx(float(picked.mean()), rel=1e-5)
            hits = x.grad.gather(1, labels.unsqueeze(1))
            assert float(hits.max()) < 0
            wanted = -1.0 if function is nbtorch.nn.functional.nll_loss else 0.0
            assert float(x.grad.sum()) == pytest.approx(wanted, abs=1e-5)
