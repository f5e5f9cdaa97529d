"""Sizes: what a convolution or a pooling makes of an input's extents, and the checks on its arguments.

Plain Python on tuples, one entry per spatial dimension, for any rank. Every function raises `RuntimeError`, as PyTorch
does for an impossible size, with a text that names the operation, the argument, what it expects and what it got.
"""

from collections.abc import Sequence

Extents = Sequence[int]


def require_positive(operation: str, argument: str, extents: Extents) -> None:
    """Refuse an extent below one."""
    if any(extent < 1 for extent in extents):
        raise RuntimeError(f"{operation}: {argument} must be positive, got {tuple(extents)}")


def require_non_negative(operation: str, argument: str, extents: Extents) -> None:
    """Refuse a negative extent."""
    if any(extent < 0 for extent in extents):
        raise RuntimeError(f"{operation}: {argument} must not be negative, got {tuple(extents)}")


def effective_kernel_size(kernel_size: Extents, dilation: Extents) -> tuple[int, ...]:
    """Return how far a dilated kernel reaches: `dilation * (kernel_size - 1) + 1` for each dimension."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))


def same_padding(kernel_size: Extents, dilation: Extents) -> tuple[tuple[int, int], ...]:
    """Return the (before, after) padding that keeps a stride-1 output as large as its input.

    Where the total is odd the extra element comes after, as in PyTorch.
    """
    totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def conv_output_size(
    operation: str,
    input_size: Extents,
    kernel_size: Extents,
    stride: Extents,
    padding: Sequence[tuple[int, int]],
    dilation: Extents,
) -> tuple[int, ...]:
    """Return the spatial extents of a convolution's output; `padding` holds (before, after) pairs."""
    require_positive(operation, "stride", stride)
    require_positive(operation, "dilation", dilation)
    for pair in padding:
        require_non_negative(operation, "padding", pair)
    require_positive(operation, "the extents of weight", kernel_size)
    padded = tuple(n + before + after for n, (before, after) in zip(input_size, padding, strict=True))
    reach = effective_kernel_size(kernel_size, dilation)
    if any(r > p for r, p in zip(reach, padded, strict=True)):
        raise RuntimeError(
            f"{operation}: the kernel must fit into the padded input, got a kernel of {reach}"
            f" (kernel_size {tuple(kernel_size)}, dilation {tuple(dilation)}) and a padded input of {padded}"
        )
    return tuple((p - r) // s + 1 for p, r, s in zip(padded, reach, stride, strict=True))


def conv_transpose_output_size(
    operation: str,
    input_size: Extents,
    kernel_size: Extents,
    stride: Extents,
    padding: Extents,
    output_padding: Extents,
    dilation: Extents,
) -> tuple[int, ...]:
    """Return the spatial extents of a transposed convolution's output."""
    require_positive(operation, "stride", stride)
    require_positive(operation, "dilation", dilation)
    require_non_negative(operation, "padding", padding)
    require_non_negative(operation, "output_padding", output_padding)
    require_positive(operation, "the extents of weight", kernel_size)
    for extra, s, d in zip(output_padding, stride, dilation, strict=True):
        if extra >= max(s, d):
            raise RuntimeError(
                f"{operation}: output_padding must be smaller than either stride or dilation, got"
                f" output_padding {tuple(output_padding)}, stride {tuple(stride)}, dilation {tuple(dilation)}"
            )
    reach = effective_kernel_size(kernel_size, dilation)
    output_size = tuple(
        (n - 1) * s - 2 * p + r + extra
        for n, s, p, r, extra in zip(input_size, stride, padding, reach, output_padding, strict=True)
    )
    if any(n < 1 for n in output_size):
        raise RuntimeError(
            f"{operation}: the output would be empty, got output extents {output_size} from input extents"
            f" {tuple(input_size)}, kernel_size {tuple(kernel_size)}, padding {tuple(padding)}"
        )
    return output_size


def pool_output_size(
    operation: str,
    input_size: Extents,
    kernel_size: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    ceil_mode: bool,
) -> tuple[int, ...]:
    """Return the spatial extents of a pooling's output.

    With `ceil_mode` the last window may hang over the end, but it must start inside the input or the padding before it.
    """
    require_positive(operation, "kernel_size", kernel_size)
    require_positive(operation, "stride", stride)
    require_positive(operation, "dilation", dilation)
    require_non_negative(operation, "padding", padding)
    reach = effective_kernel_size(kernel_size, dilation)
    if any(p > r // 2 for p, r in zip(padding, reach, strict=True)):
        raise RuntimeError(
            f"{operation}: padding must be at most half of the effective kernel size {reach}, got {tuple(padding)}"
        )
    output_size = []
    for n, r, s, p in zip(input_size, reach, stride, padding, strict=True):
        span = n + 2 * p - r
        extent = (span + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (extent - 1) * s >= n + p:
            extent -= 1
        output_size.append(extent)
    if any(n < 1 for n in output_size):
        raise RuntimeError(
            f"{operation}: the output would be empty, got output extents {tuple(output_size)} from input extents"
            f" {tuple(input_size)}, kernel_size {tuple(kernel_size)}, padding {tuple(padding)},"
            f" dilation {tuple(dilation)}"
        )
    return tuple(output_size)
