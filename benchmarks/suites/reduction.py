"""Sums, means, extrema and the like over all elements, over the last dimension and over the first."""

from typing import Any

SIZES = {"1,000": (20, 50), "100,000": (200, 500), "10,000,000": (2000, 5000)}
FUNCTIONS = ("sum", "mean", "amax", "argmax", "var", "norm", "logsumexp")


def of(name: str, shape: tuple[int, ...], dim: int | None):
    """Return a case: a reduction of a tensor, over one dimension or, where there is none given, over all."""

    def prepare(torch: Any):
        x = torch.randn(*shape)
        if name == "logsumexp":
            dims = (0, 1) if dim is None else dim
            return lambda: x.logsumexp(dims)
        if dim is None:
            return getattr(x, name)
        options = {"dim": dim}
        function = getattr(x, name)
        return lambda: function(**options)

    return prepare


CASES = {
    f"{name}, {size}{where}": of(name, shape, dim)
    for name in FUNCTIONS
    for size, shape in SIZES.items()
    for where, dim in (("", None), (", last dimension", -1), (", first dimension", 0))
}
