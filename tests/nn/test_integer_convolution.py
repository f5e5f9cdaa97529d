"""Convolutions of integers against PyTorch: options, types, wrapping sums, and the types that have none."""

import itertools

import pytest

from tests.against_torch import assert_same

TYPES = ["int64", "int32", "int16", "int8", "uint8"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_values(transposed, rank, dtype):
    def program(torch):
        function = getattr(torch.nn.functional, f"conv{'_transpose' * transposed}{rank}d")
        kind, results = getattr(torch, dtype), []
        x = (torch.arange(2 * 4 * 5**rank) % 97).reshape(2, 4, *(5,) * rank).to(kind)
        bias = torch.arange(4).to(kind)
        for stride, padding, groups in itertools.product((1, 2), (0, 1), (1, 2)):
            shape = (4, 4 // groups, *(3, 2, 1)[:rank])
            weight = (torch.arange(torch.Size(shape).numel()) % 89).reshape(shape).to(kind)
            results.append(function(x, weight, None, stride, padding, groups=groups))
            results.append(function(x[0], weight, bias, stride, padding, groups=groups))
        return results

    assert_same(program)


@pytest.mark.parametrize("dtype", [*TYPES, "bool"])
def test_dilated_ones_are_of_int64(dtype):
    def program(torch):
        x, weight = (torch.ones(1, 1, n, n).to(getattr(torch, dtype)) for n in (6, 2))
        return torch.nn.functional.conv2d(x, weight, dilation=2)

    assert_same(program)
