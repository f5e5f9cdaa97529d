"""Attention and transformers: values, gradients, options, errors and warnings against PyTorch; memory; threads."""

import math
import os
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

import nbtorch
import nbtorch.nn.functional as F
from nbtorch import nn
from nbtorch.autograd import gradcheck, gradgradcheck
from nbtorch.nn.attention import SDPBackend, sdpa_kernel

from ..against_torch import assert_same


def values(library, *shape, seed=0, dtype="float64"):
    array = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return library.tensor(array).to(getattr(library, dtype))


def mask_of(library, kind, *shape):
    if kind == "bool":
        return library.tensor(np.random.default_rng(5).random(shape) < 0.6)
    return values(library, *shape, seed=9) if kind == "float" else None


SHAPES = {
    # query, key, value
    "small": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
    "several tiles": ((1, 2, 70, 8), (1, 2, 300, 8), (1, 2, 300, 8)),
    "other features of values": ((1, 2, 20, 6), (1, 2, 33, 6), (1, 2, 33, 11)),
    "fewer keys": ((1, 1, 40, 3), (1, 1, 9, 3), (1, 1, 9, 3)),
    "matrices": ((5, 4), (7, 4), (7, 4)),
    "one batch": ((3, 5, 4), (3, 7, 4), (3, 7, 4)),
    "five dimensions": ((2, 2, 3, 5, 4), (2, 2, 3, 7, 4), (2, 2, 3, 7, 4)),
    "broadcast": ((2, 1, 5, 4), (1, 3, 7, 4), (7, 4)),
    "no queries": ((2, 3, 0, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
    "no keys": ((2, 3, 5, 4), (2, 3, 0, 4), (2, 3, 0, 4)),
    "no batch": ((0, 3, 5, 4), (0, 3, 7, 4), (0, 3, 7, 4)),
    "no features": ((1, 1, 2, 0), (1, 1, 3, 0), (1, 1, 3, 2)),
    "no values": ((1, 1, 2, 3), (1, 1, 3, 3), (1, 1, 3, 0)),
}


@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_values_and_gradients(shapes, kind):
    def program(library):
        inputs = [values(library, *shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
        mask = mask_of(library, kind, shapes[0][-2], shapes[1][-2])
        result = library.nn.functional.scaled_dot_product_attention(*inputs, mask, is_causal=kind == "causal")
        grads = library.autograd.grad(result, inputs, values(library, *result.shape, seed=7))
        return result, grads

    assert_same(program)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("causal", [False, True])
def test_types(dtype, causal):
    torch = pytest.importorskip("torch")
    tolerance = {"float32": 3e-6, "float16": 4e-3, "bfloat16": 3e-2}[dtype]
    results = []
    for library in (nbtorch, torch):
        inputs = [values(library, 2, 2, 40, 16, seed=i, dtype=dtype).requires_grad_() for i in range(3)]
        result = library.nn.functional.scaled_dot_product_attention(*inputs, is_causal=causal)
        grads = library.autograd.grad(result, inputs, values(library, *result.shape, seed=7, dtype=dtype))
        assert str(result.dtype) == f"torch.{dtype}"
        results.append([np.array(t.detach().float().tolist()) for t in (result, *grads)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


OPTIONS = {
    "scale": {"scale": 0.3},
    "no scale": {"scale": 0.0},
    "negative scale": {"scale": -1.0},
    "mask for a batch": {"attn_mask": (2, 1, 20, 30)},
    "mask for heads": {"attn_mask": (4, 20, 30)},
    "mask of keys": {"attn_mask": (2, 1, 1, 30)},
    "mask of queries": {"attn_mask": (1, 1, 20, 1)},
    "shared heads": {"enable_gqa": True, "groups": (2, 2)},
    "shared heads, causal": {"enable_gqa": True, "groups": (1, 1), "is_causal": True},
    "shared heads, unlike": {"enable_gqa": True, "groups": (2, 1)},
    "mask and causal": {"attn_mask": (20, 30), "is_causal": True},
}


@pytest.mark.parametrize("boolean", [False, True])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(options, boolean):
    def program(library):
        chosen = dict(options)
        groups = chosen.pop("groups", (4, 4))
        if "attn_mask" in chosen:
            chosen["attn_mask"] = mask_of(library, "bool" if boolean else "float", *chosen["attn_mask"])
        q = values(library, 2, 4, 20, 8).requires_grad_()
        k, v = (values(library, 2, n, 30, 8, seed=i).requires_grad_() for i, n in enumerate(groups, 1))
        result = library.nn.functional.scaled_dot_product_attention(q, k, v, **chosen)
        return result, library.autograd.grad(result, (q, k, v), values(library, *result.shape, seed=7))

    assert_same(program)


@pytest.mark.parametrize("number", [-math.inf, math.inf, math.nan])
def test_rows_that_see_nothing_or_no_numbers(number):
    def program(library):
        mask = library.zeros(20, 30, dtype=library.float64)
        mask[3] = number
        q, k, v = (values(library, 1, 2, n, 8, seed=n).requires_grad_() for n in (20, 30, 30))
        result = library.nn.functional.scaled_dot_product_attention(q, k, v, mask)
        if number != -math.inf:
            return result
        return result, library.autograd.grad(result.sum(), (q, k, v))

    assert_same(program)


def test_numbers_that_overflow_or_are_none_stay():
    def program(library):
        q, k, v = (values(library, 1, 1, 20, 8, seed=n) for n in range(3))
        k[0, 0, 4, 2] = math.nan
        v[0, 0, 5, 1] = math.inf
        return library.nn.functional.scaled_dot_product_attention(q, k, v), q

    assert_same(program)


def test_large_scores_do_not_overflow():
    q = nbtorch.full((1, 1, 3, 4), 300.0)
    result = F.scaled_dot_product_attention(q, q, q)
    assert result.tolist() == q.tolist()


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.7}], ids=str)
def test_gradients_of_both_orders(options):
    inputs = [values(nbtorch, 1, 2, n, 3, seed=n).requires_grad_() for n in (4, 5, 5)]

    def attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, **options)

    assert gradcheck(attention, inputs)
    assert gradgradcheck(attention, inputs)


def test_gradients_with_shared_heads_and_a_mask():
    inputs = [values(nbtorch, 1, h, n, 3, seed=n).requires_grad_() for h, n in ((4, 3), (2, 5), (2, 5))]
    mask = nbtorch.tensor(np.random.default_rng(0).random((3, 5)) < 0.7)

    def attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)

    assert gradcheck(attention, inputs)
    assert gradgradcheck(attention, inputs)


def test_the_gradient_of_a_mask():
    def program(library):
        q, k, v = (values(library, 1, 2, n, 3, seed=n) for n in (4, 5, 5))
        mask = values(library, 2, 1, 5).requires_grad_()
        result = library.nn.functional.scaled_dot_product_attention(q, k, v, mask)
        return result, library.autograd.grad(result, mask, values(library, *result.shape, seed=7))

    assert_same(program)


def test_dropout():
    q, k, v = (values(nbtorch, 1, 1, 50, 3, seed=n) for n in range(3))
    v = v.fill_(1)
    nbtorch.manual_seed(0)
    result = F.scaled_dot_product_attention(q, k, v, dropout_p=0.4)
    assert result.std() > 0.01
    assert abs(result.mean().item() - 1) < 0.1
    assert F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).abs().sum() == 0


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_drops_the_same_in_the_kernel_and_in_memory(causal):
    q, k, v = (values(nbtorch, 2, h, n, 8, seed=n).requires_grad_() for h, n in ((4, 70), (2, 300), (2, 300)))
    results = []
    for way in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        nbtorch.manual_seed(0)
        with sdpa_kernel(way):
            result = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, is_causal=causal, enable_gqa=True)
        results.append([result, *nbtorch.autograd.grad((result * result).sum(), (q, k, v))])
    for ours, plain in zip(*results, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), plain.detach().numpy(), rtol=1e-10, atol=1e-10)


def test_gradients_of_both_orders_with_dropout():
    inputs = [values(nbtorch, 1, 2, n, 3, seed=n).requires_grad_() for n in (4, 5, 5)]

    def attention(q, k, v):
        nbtorch.manual_seed(1)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4)

    assert gradcheck(attention, inputs)
    assert gradgradcheck(attention, inputs)


def test_what_is_dropped_looks_random():
    nbtorch.manual_seed(0)
    weights = nbtorch.eye(500).reshape(1, 1, 500, 500)
    zeros = nbtorch.zeros(1, 4, 500, 8)
    kept = (F.scaled_dot_product_attention(zeros, zeros, weights.expand(1, 4, 500, 500), dropout_p=0.3) > 0).numpy()
    assert abs(kept.mean() - 0.7) < 0.002  # a million draws
    for a, b in ((kept[:, :, 1:], kept[:, :, :-1]), (kept[..., 1:], kept[..., :-1]), (kept[:, 1:], kept[:, :-1])):
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < 0.005


def test_ways_that_are_not_allowed():
    def program(library):
        attention = library.nn.attention
        x = values(library, 1, 1, 3, 4)
        backends = attention.SDPBackend
        with attention.sdpa_kernel([backends.MATH, backends.FLASH_ATTENTION], set_priority=True):
            library.nn.functional.scaled_dot_product_attention(x, x, x)
        with attention.sdpa_kernel(backends.CUDNN_ATTENTION):
            return library.nn.functional.scaled_dot_product_attention(x, x, x)

    assert_same(program)
    assert_same(lambda library: library.nn.attention.sdpa_kernel("math").__enter__())
    assert_same(lambda library: (repr(library.nn.attention.SDPBackend.MATH), int(library.nn.attention.SDPBackend.MATH)))


def test_a_mask_that_changed_is_noticed():
    q = values(nbtorch, 1, 1, 4, 3).requires_grad_()
    mask = nbtorch.zeros(4, 4, dtype=nbtorch.float64)
    result = F.scaled_dot_product_attention(q, q, q, mask)
    mask += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


@pytest.mark.parametrize("causal", [False, True])
def test_the_scores_are_never_stored(causal):
    length = 1500
    q, k, v = (values(nbtorch, 1, 1, length, 16, seed=n, dtype="float32").requires_grad_() for n in range(3))
    F.scaled_dot_product_attention(q, k, v, is_causal=causal).sum().backward()  # compiles, and fills the pool
    tracemalloc.start()
    F.scaled_dot_product_attention(q, k, v, is_causal=causal).sum().backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < length * length * 4 / 4


THREADS = """
import hashlib, numba, numpy as np, nbtorch
rng = np.random.default_rng(0)
for shape, groups in (((1, 3, 300, 40), 3), ((2, 4, 130, 64), 2)):
    sizes = shape, (shape[0], groups, *shape[2:]), (shape[0], groups, *shape[2:])
    inputs = [nbtorch.tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in sizes]
    for causal in (False, True):
        out = nbtorch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=causal, enable_gqa=True)
        grads = nbtorch.autograd.grad((out * out).sum(), inputs)
        print(hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in (out, *grads))).hexdigest())
"""


def test_the_bits_do_not_depend_on_threads():
    said = [
        subprocess.run(
            [sys.executable, "-c", THREADS],
            env={**os.environ, "NUMBA_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    ]
    assert len(said[0].split()) == 4
    assert said[0] == said[1] == said[2]


BAD = {
    "no tensor": lambda f, x: f(None, x, x),
    "vectors": lambda f, x: f(x[0, 0, 0], x[0, 0, 0], x[0, 0, 0]),
    "other features": lambda f, x: f(x[..., :3], x, x),
    "other keys": lambda f, x: f(x[0], x[0], x[0, :, :3]),
    "heads that do not broadcast": lambda f, x: f(x[:, :2], x, x),
    "types": lambda f, x: f(x, x.double(), x),
    "integers": lambda f, x: f(x.long(), x.long(), x.long()),
    "complex": lambda f, x: f(x + 0j, x + 0j, x + 0j),
    "mask of integers": lambda f, x: f(x, x, x, (x @ x.mT).long()),
    "mask of another type": lambda f, x: f(x, x, x, (x @ x.mT).double()),
    "mask of another shape": lambda f, x: f(x, x, x, x[0, 0, :, :3]),
    "mask of more dimensions": lambda f, x: f(x, x, x, (x @ x.mT)[None]),
    "mask with fewer queries": lambda f, x: f(x[0], x[0], x[0], x @ x.mT),
    "a vector as mask": lambda f, x: f(x, x, x, x[0, 0, 0]),
    "a list as mask": lambda f, x: f(x, x, x, [1]),
    "mask and causal, values of other features": lambda f, x: f(x, x, x[..., :3], x @ x.mT, is_causal=True),
    "mask and causal without heads": lambda f, x: f(x[0], x[0], x[0], x[0] @ x[0].mT, is_causal=True),
    "dropout too large": lambda f, x: f(x, x, x, dropout_p=1.5),
    "dropout negative": lambda f, x: f(x, x, x, dropout_p=-0.5),
    "dropout of no number": lambda f, x: f(x, x, x, None, "a"),
    "causal of no bool": lambda f, x: f(x, x, x, is_causal=1),
    "scale by position": lambda f, x: f(x, x, x, None, 0.0, False, 1.0),
    "scale of no number": lambda f, x: f(x, x, x, scale="a"),
    "heads that do not divide": lambda f, x: f(x, x[:, :2], x[:, :2], enable_gqa=True),
    "shared heads without heads": lambda f, x: f(x[0, 0], x[0, 0], x[0, 0], enable_gqa=True),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
def test_bad_input(call):
    def program(library):
        x = values(library, 2, 3, 5, 5, dtype="float32")
        return call(library.nn.functional.scaled_dot_product_attention, x)

    assert_same(program)


def same_weights(library, module):
    """Give a module weights that both libraries share."""
    with library.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            seed = sum(map(ord, name))
            parameter.copy_(0.3 * values(library, *parameter.shape, seed=seed))
    return module


def run(library, module, inputs, **options):
    """Return result, gradients of inputs and of parameters."""
    result = module(*inputs, **options)
    parts = [t for t in (result if isinstance(result, tuple) else (result,)) if t is not None]
    sum_ = sum((part * values(library, *part.shape, seed=3)).sum() for part in parts)
    leaves = [t for t in dict.fromkeys(inputs) if t.requires_grad] + list(module.parameters())
    return parts, library.autograd.grad(sum_, leaves, allow_unused=True)


HEADS = {
    "plain": {},
    "no bias": {"bias": False},
    "appended": {"add_bias_kv": True, "add_zero_attn": True},
    "batch first": {"batch_first": True},
    "other features": {"kdim": 5, "vdim": 6},
    "everything": {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True, "kdim": 5, "vdim": 6},
}
MASKS = ["none", "bool", "float", "padding", "both", "three dimensions", "causal"]


@pytest.mark.parametrize("weights", ["mean", "each", "no weights"])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_multihead_attention(options, masks, weights):
    def program(library):
        module = same_weights(library, library.nn.MultiheadAttention(8, 2, dtype=library.float64, **options))
        batch, length, keys = 3, 4, 4 if masks == "causal" else 6
        sizes = (length, 8), (keys, options.get("kdim", 8)), (keys, options.get("vdim", 8))
        inputs = [values(library, batch, *size, seed=i) for i, size in enumerate(sizes)]
        if not options.get("batch_first"):
            inputs = [t.transpose(0, 1) for t in inputs]
        given = {"need_weights": weights != "no weights", "average_attn_weights": weights == "mean"}
        if masks == "causal":
            mask = library.nn.Transformer.generate_square_subsequent_mask(length, dtype=library.float64)
            given |= {"attn_mask": mask, "is_causal": True}
        elif masks == "three dimensions":
            given["attn_mask"] = mask_of(library, "float", batch * 2, length, keys)
        elif masks in ("bool", "float", "both"):
            given["attn_mask"] = mask_of(library, "float" if masks == "float" else "bool", length, keys)
        if masks in ("padding", "both"):
            given["key_padding_mask"] = library.arange(keys).repeat(batch, 1) > 4
        return run(library, module, [t.detach().requires_grad_() for t in inputs], **given)

    assert_same(program)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_multihead_attention_of_itself_and_without_batch(batch_first, weights):
    def program(library):
        module = library.nn.MultiheadAttention(8, 4, batch_first=batch_first, dtype=library.float64)
        same_weights(library, module)
        x, y = values(library, 3, 5, 8).requires_grad_(), values(library, 5, 8).requires_grad_()
        memory = values(library, 3, 6, 8) if batch_first else values(library, 6, 5, 8)
        padding = library.tensor([False, True, False, False, True])
        return (
            run(library, module, [x, x, x], need_weights=weights),
            run(library, module, [x, memory, memory], need_weights=weights),
            run(library, module, [y, y, y], need_weights=weights, key_padding_mask=padding),
        )

    assert_same(program)


def test_masks_are_merged():
    def program(library):
        merge = library.nn.MultiheadAttention(8, 2, batch_first=True).merge_masks
        mask, each, padding = (values(library, *shape) for shape in ((4, 4), (6, 4, 4), (3, 4)))
        query = values(library, 3, 4, 8)
        return [merge(m, p, query) for m in (None, mask, each) for p in (None, padding)]

    assert_same(program)


def test_static_keys_and_values():
    def program(library):
        x, static = values(library, 4, 3, 8), values(library, 6, 5, 4)
        weight, bias = values(library, 24, 8), values(library, 24)
        out = values(library, 8, 8), values(library, 8)
        call = library.nn.functional.multi_head_attention_forward
        return call(x, x, x, 8, 2, weight, bias, None, None, False, 0.0, *out, static_k=static, static_v=static)

    assert_same(program)


BAD_HEADS = {
    "no features": lambda nn, x: nn.MultiheadAttention(0, 1),
    "no heads": lambda nn, x: nn.MultiheadAttention(8, 0),
    "heads that do not divide": lambda nn, x: nn.MultiheadAttention(8, 3),
    "four dimensions": lambda nn, x: nn.MultiheadAttention(8, 2)(x[None], x[None], x[None]),
    "ranks that differ": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x[0], x[0]),
    "features": lambda nn, x: nn.MultiheadAttention(4, 2)(x, x, x),
    "keys and values": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x, x[:2]),
    "causal without mask": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x, x, is_causal=True),
    "mask shape": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=x[0, :, :3]),
    "mask type": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=x[0].long()),
    "mask rank": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=x[0, 0]),
    "padding rank": lambda nn, x: nn.MultiheadAttention(8, 2)(x, x, x, key_padding_mask=x > 0),
    "mask shape without batch": lambda nn, x: nn.MultiheadAttention(8, 2)(x[0], x[0], x[0], attn_mask=x),
    "activation": lambda nn, x: nn.TransformerEncoderLayer(8, 2, activation="tanh"),
    "batches": lambda nn, x: nn.Transformer(8, 2, 1, 1, 16)(x, x[:, :2]),
    "features of a transformer": lambda nn, x: nn.Transformer(4, 2, 1, 1, 16)(x, x),
}


@pytest.mark.parametrize("call", BAD_HEADS.values(), ids=BAD_HEADS)
def test_bad_input_of_modules(call):
    assert_same(lambda library: repr(call(library.nn, values(library, 4, 3, 8, dtype="float32"))) and None)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "function", "module"])
def test_layers(activation, norm_first, batch_first, training):
    def program(library):
        functions = {"function": library.tanh, "module": library.nn.GELU()}
        options = {
            "dropout": 0.0,
            "activation": functions.get(activation, activation),
            "batch_first": batch_first,
            "norm_first": norm_first,
            "dtype": library.float64,
        }
        x, memory = values(library, 3, 4, 8).requires_grad_(), values(library, *((3, 5) if batch_first else (5, 4)), 8)
        length, batch = (4, 3) if batch_first else (3, 4)
        mask = library.nn.Transformer.generate_square_subsequent_mask(length, dtype=library.float64)
        padding = library.zeros(batch, length, dtype=library.float64)
        padding[1, -1] = -math.inf
        results = []
        for name, inputs in (("Encoder", (x,)), ("Decoder", (x, memory))):
            layer = getattr(library.nn, f"Transformer{name}Layer")(8, 2, 16, **options).train(training)
            same_weights(library, layer)
            results.append(repr(layer))
            results.append([(key, tuple(value.shape)) for key, value in layer.state_dict().items()])
            for given in ({}, {"mask": mask}, {"mask": mask, "key_padding_mask": padding}):
                prefix = "src" if name == "Encoder" else "tgt"
                masks = {f"{prefix}_{key}": value for key, value in given.items()}
                results.append(run(library, layer, inputs, **masks))
        return results

    assert_same(program)


@pytest.mark.parametrize("causal", [None, True, False])
def test_stacks(causal):
    def program(library):
        kind = {"dtype": library.float64}
        model = library.nn.Transformer(8, 2, 2, 2, 16, dropout=0.0, batch_first=True, **kind)
        same_weights(library, model)
        source, target = values(library, 3, 5, 8), values(library, 3, 4, 8).requires_grad_()
        mask = library.nn.Transformer.generate_square_subsequent_mask(4, **kind)
        padding = library.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
        shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
        given = {"src_key_padding_mask": padding, "tgt_mask": mask, "memory_key_padding_mask": padding}
        return repr(model), shapes, run(library, model, (source, target), tgt_is_causal=causal, **given)

    assert_same(program)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_padding_in_evaluation(nested, norm):
    """PyTorch leaves the padding out there, and its result is 0."""

    def program(library):
        warnings.simplefilter("ignore")  # PyTorch calls nested tensors a prototype, once
        layer = library.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, dtype=library.float64)
        last = library.nn.LayerNorm(8, dtype=library.float64) if norm else None
        encoder = library.nn.TransformerEncoder(layer, 2, last, enable_nested_tensor=nested)
        same_weights(library, encoder).eval()
        padding = library.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
        with library.no_grad():
            result = encoder(values(library, 3, 5, 8), src_key_padding_mask=padding)
        return result if nested else result.masked_fill(padding.unsqueeze(-1), 0)

    assert_same(program)


def test_warnings():
    def program(library):
        layer = library.nn.TransformerEncoderLayer(8, 2, 16)
        library.nn.TransformerEncoder(layer, 1)
        module = library.nn.MultiheadAttention(8, 2)
        x = library.ones(3, 2, 8)
        module(x, x, x, key_padding_mask=library.zeros(2, 3, dtype=library.bool), attn_mask=library.zeros(3, 3))

    assert_same(program)


def test_initial_values():
    nbtorch.manual_seed(0)
    module = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.9 * bound < module.in_proj_weight.abs().max() <= bound
    assert module.in_proj_bias.abs().sum() == module.out_proj.bias.abs().sum() == 0
    assert module.bias_k.std() > 0
    assert [name for name, _ in module.named_parameters()] == [
        *("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias")
    ]


def test_dropout_of_a_layer_in_training():
    nbtorch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5)
    x = values(nbtorch, 3, 4, 8, dtype="float32")
    assert (layer(x) != layer(x)).any()
    layer.eval()
    assert (layer(x) == layer(x)).all()
