"""The kernels once more as plain NumPy, window by window in float64: slow, short and easy to believe."""

import itertools

import numpy as np


def taps_in_input(out_position, kernel_size, stride, padding, dilation, extents):
    """Yield (tap, position) for the taps of the window at `out_position` that lie inside the input."""
    for tap in np.ndindex(*kernel_size):
        position = tuple(
            o * s - p + t * d for o, s, p, t, d in zip(out_position, stride, padding, tap, dilation, strict=True)
        )
        if all(0 <= x < n for x, n in zip(position, extents, strict=True)):
            yield tap, position


def max_pool_forward(input, kernel_size, stride, padding, dilation, output, indices):
    extents = input.shape[2:]
    lowest = -np.inf if input.dtype.kind == "f" else np.iinfo(input.dtype).min
    for n, c, *out_position in np.ndindex(*output.shape):
        best, best_index = lowest, -1
        for _, position in taps_in_input(out_position, kernel_size, stride, padding, dilation, extents):
            value = input[(n, c, *position)]
            if best_index < 0 or value > best or np.isnan(value):
                best, best_index = value, np.ravel_multi_index(position, extents)
        output[(n, c, *out_position)], indices[(n, c, *out_position)] = best, best_index


def max_pool_backward(grad_output, indices, kernel_size, stride, padding, dilation, grad_input):
    grad_input[...] = 0
    for n, c, *out_position in np.ndindex(*grad_output.shape):
        index = indices[(n, c, *out_position)]
        if index >= 0:
            grad_input[n, c].reshape(-1)[index] += grad_output[(n, c, *out_position)]


def max_unpool_backward(input, indices, output):
    planes = input.reshape(*input.shape[:2], -1)
    for place in np.ndindex(*output.shape):
        output[place] = planes[place[0], place[1], indices[place]] if indices[place] >= 0 else 0


def conv_terms(input_shape, weight_shape, output_shape, stride, padding, dilation, groups):
    """Yield (input place, weight place, output place) of every product in a convolution."""
    in_per_group, out_per_group = weight_shape[1], output_shape[1] // groups
    for n, o, *out_position in np.ndindex(*output_shape):
        taps = list(taps_in_input(out_position, weight_shape[2:], stride, padding, dilation, input_shape[2:]))
        for c, (tap, position) in itertools.product(range(in_per_group), taps):
            yield (n, o // out_per_group * in_per_group + c, *position), (o, c, *tap), (n, o, *out_position)


def conv_forward(input, weight, bias, stride, padding, dilation, groups, output):
    total = np.zeros(output.shape)
    for i, w, o in conv_terms(input.shape, weight.shape, output.shape, stride, padding, dilation, groups):
        total[o] += float(input[i]) * float(weight[w])
    output[...] = total if bias is None else total + bias.reshape(-1, 1, 1, 1)


def conv_grad_input(grad_output, weight, bias, stride, padding, dilation, groups, grad_input):
    total = np.zeros(grad_input.shape)
    for i, w, o in conv_terms(grad_input.shape, weight.shape, grad_output.shape, stride, padding, dilation, groups):
        total[i] += float(grad_output[o]) * float(weight[w])
    grad_input[...] = total if bias is None else total + bias.reshape(-1, 1, 1, 1)


def conv_grad_weight(grad_output, input, stride, padding, dilation, groups, grad_weight):
    total = np.zeros(grad_weight.shape)
    for i, w, o in conv_terms(input.shape, grad_weight.shape, grad_output.shape, stride, padding, dilation, groups):
        total[w] += float(grad_output[o]) * float(input[i])
    grad_weight[...] = total


def conv_grad_bias(grad_output, grad_bias):
    grad_bias[...] = grad_output.astype(np.float64).sum(axis=(0, 2, 3, 4))
