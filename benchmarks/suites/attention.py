"""Attention: the function with its masks and shared heads, the module, and a layer of an encoder."""

from typing import Any

SIZES = {
    # batch, heads, length, features
    "1 x 8 x 128 x 64": (1, 8, 128, 64),
    "4 x 8 x 128 x 64": (4, 8, 128, 64),
    "2 x 8 x 512 x 64": (2, 8, 512, 64),
    "1 x 4 x 512 x 128": (1, 4, 512, 128),
    "1 x 12 x 197 x 64": (1, 12, 197, 64),
    "2 x 8 x 1024 x 64": (2, 8, 1024, 64),
}


def boolean_mask(torch: Any, batch: int, length: int) -> dict[str, Any]:
    """Return a mask that hides a tenth of the keys of each query."""
    return {"attn_mask": torch.rand(length, length) > 0.1}


def additive_mask(torch: Any, batch: int, length: int) -> dict[str, Any]:
    """Return a mask of numbers."""
    return {"attn_mask": torch.randn(length, length)}


def padding_mask(torch: Any, batch: int, length: int) -> dict[str, Any]:
    """Return a mask that hides the last tenth of the keys."""
    return {"attn_mask": (torch.arange(length) < 0.9 * length).reshape(1, 1, 1, length)}


def plain(torch: Any, batch: int, length: int) -> dict[str, Any]:
    """Return no option."""
    return {}


def causal(torch: Any, batch: int, length: int) -> dict[str, Any]:
    """Return the causal option."""
    return {"is_causal": True}


OPTIONS = {
    "": (plain, SIZES),
    ", causal": (causal, SIZES),
    ", boolean mask": (boolean_mask, ("2 x 8 x 512 x 64",)),
    ", additive mask": (additive_mask, ("1 x 8 x 128 x 64", "2 x 8 x 512 x 64")),
    ", padding": (padding_mask, ("2 x 8 x 512 x 64",)),
}


def function(size: tuple[int, ...], options: Any, backward: bool, groups: int | None = None):
    """Return a case: scaled_dot_product_attention of one size, and its gradients."""

    def prepare(torch: Any):
        batch, heads, length, features = size
        own = (batch, groups or heads, length, features)
        q, k, v = (torch.randn(*shape, requires_grad=backward) for shape in (size, own, own))
        grad, chosen = torch.ones(*size), options(torch, batch, length)
        if groups is not None:
            chosen["enable_gqa"] = True
        attention = torch.nn.functional.scaled_dot_product_attention

        def step() -> None:
            if not backward:
                with torch.no_grad():
                    attention(q, k, v, **chosen)
                return
            q.grad = k.grad = v.grad = None
            attention(q, k, v, **chosen).backward(grad)

        return step

    return prepare


def layer(make: Any, call: Any, shape: tuple[int, ...], backward: bool):
    """Return a case: a module in evaluation, or in training with its gradients."""

    def prepare(torch: Any):
        module = make(torch.nn).train(backward)
        x, grad = torch.randn(*shape, requires_grad=backward), torch.ones(*shape)

        def step() -> None:
            if not backward:
                with torch.no_grad():
                    call(module, x)
                return
            x.grad = None
            module.zero_grad()
            call(module, x).backward(grad)

        return step

    return prepare


MODULES = {
    "MultiheadAttention, 128 x 4 x 256, 8 heads": (
        lambda nn: nn.MultiheadAttention(256, 8),
        lambda module, x: module(x, x, x, need_weights=False)[0],
        (128, 4, 256),
    ),
    "MultiheadAttention with weights, 128 x 4 x 256, 8 heads": (
        lambda nn: nn.MultiheadAttention(256, 8),
        lambda module, x: module(x, x, x)[0],
        (128, 4, 256),
    ),
    "MultiheadAttention, 2 x 512 x 512, 8 heads, batch first": (
        lambda nn: nn.MultiheadAttention(512, 8, batch_first=True),
        lambda module, x: module(x, x, x, need_weights=False)[0],
        (2, 512, 512),
    ),
    "encoder layer, 8 x 128 x 256, 8 heads": (
        lambda nn: nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, batch_first=True),
        lambda module, x: module(x),
        (8, 128, 256),
    ),
    "encoder layer with dropout, 8 x 128 x 256, 8 heads": (
        lambda nn: nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True),
        lambda module, x: module(x),
        (8, 128, 256),
    ),
    "decoder layer, 8 x 64 x 256, 8 heads": (
        lambda nn: nn.TransformerDecoderLayer(256, 8, 1024, dropout=0.0, batch_first=True),
        lambda module, x: module(x, x),
        (8, 64, 256),
    ),
}

GROUPED = "2 x 8 x 512 x 64, 2 heads of keys"
TRAINING = {"": False, ", training": True}

CASES = (
    {
        f"{size}{name}{suffix}": function(SIZES[size], options, backward)
        for name, (options, sizes) in OPTIONS.items()
        for size in sizes
        for suffix, backward in TRAINING.items()
    }
    | {
        f"{GROUPED}{suffix}": function(SIZES["2 x 8 x 512 x 64"], plain, backward, 2)
        for suffix, backward in TRAINING.items()
    }
    | {
        f"{name}{suffix}": layer(*about, backward)
        for name, about in MODULES.items()
        for suffix, backward in TRAINING.items()
    }
)


def flops(name: str) -> int | None:
    """Return the operations that scaled_dot_product_attention needs: two products, in training seven."""
    size = SIZES.get(name.partition(",")[0])
    if size is None:
        return None
    batch, heads, length, features = size
    one = 2 * batch * heads * length * length * features
    return one * (7 if "training" in name else 2) // (2 if "causal" in name else 1)


FLOPS = {name: count for name in CASES if (count := flops(name))}
