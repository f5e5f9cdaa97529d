"""Initialisations: PyTorch's errors and deterministic values, and the right distributions."""

import math

import numpy as np
import pytest

import nbtorch
from nbtorch.nn import init


def filled(name, *shape, **options):
    """Return a program that fills a tensor of ones and tells whether it came back, and its values."""

    def program(torch):
        tensor = torch.ones(*shape)
        return getattr(torch.nn.init, name)(tensor, **options) is tensor, tensor.tolist()

    return program


def shaped(name, *shape, **options):
    """Return a program that fills a tensor and tells its shape only."""
    return lambda torch: tuple(getattr(torch.nn.init, name)(torch.ones(*shape), **options).shape)


def gain(*args):
    return lambda torch: torch.nn.init.calculate_gain(*args)


NONLINEARITIES = ["linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "other", 3]

ROWS = {
    **{f"gain {name}": gain(name) for name in NONLINEARITIES},
    **{f"gain leaky_relu {slope}": gain("leaky_relu", slope) for slope in (0.3, 1, True, "a")},
    "constant_": filled("constant_", 2, 3, val=4.5),
    "ones_": filled("ones_", 2),
    "zeros_": filled("zeros_", 2),
    "eye_": filled("eye_", 2, 3),
    "eye_ of rank 1": filled("eye_", 3),
    "dirac_": filled("dirac_", 4, 2, 3),
    "dirac_ groups": filled("dirac_", 4, 2, 3, 4, groups=2),
    "dirac_ 3-d": filled("dirac_", 2, 3, 2, 3, 4),
    "dirac_ of rank 2": filled("dirac_", 3, 3),
    "dirac_ odd groups": filled("dirac_", 3, 3, 3, groups=2),
    **{f"{name} of rank 1": shaped(name, 3) for name in dir(init) if name.startswith(("xavier", "kaiming"))},
    **{f"{name} of nothing": shaped(name, 3, 0) for name in dir(init) if name.startswith(("xavier", "kaiming"))},
    "kaiming mode": shaped("kaiming_uniform_", 2, 3, mode="other"),
    "kaiming mode 3": shaped("kaiming_normal_", 2, 3, mode="FAN_OUT"),
    "kaiming nonlinearity": shaped("kaiming_normal_", 2, 3, nonlinearity="other"),
    "kaiming slope": shaped("kaiming_normal_", 2, 3, a="x"),
    "kaiming of nothing, bad mode": shaped("kaiming_normal_", 0, 3, mode="other"),
    "uniform_ reversed": shaped("uniform_", 3, a=2, b=1),
    "normal_ negative": shaped("normal_", 3, std=-1),
    "orthogonal_ of rank 1": shaped("orthogonal_", 3),
    "orthogonal_ of nothing": shaped("orthogonal_", 0, 3),
    "orthogonal_ of rank 3": shaped("orthogonal_", 3, 4, 2),
    "sparse_ of rank 3": shaped("sparse_", 3, 3, 3, sparsity=0.1),
    "sparse_ all": shaped("sparse_", 10, 2, sparsity=1.5),
    "trunc_normal_ far": shaped("trunc_normal_", 5, mean=10),
    "trunc_normal_ reversed": shaped("trunc_normal_", 5, a=2, b=1),
    "trunc_normal_ of no width": shaped("trunc_normal_", 5, std=0, a=-1, b=1),
    "former name": shaped("normal", 3),
    "former name with arguments": shaped("xavier_uniform", 3, 4, gain=2.0),
    "leaf": lambda torch: torch.nn.init.constant_(torch.ones(2, requires_grad=True), 3),
    "3": lambda torch: torch.nn.init.uniform_(3),
}


@pytest.mark.parametrize("program", ROWS.values(), ids=ROWS)
def test_as_in_pytorch(program, same):
    same(program)


FAN_IN, FAN_OUT = 60 * 5, 50 * 5  # of a weight (50, 60, 5)
SLOPE = math.sqrt(2 / (1 + 0.5**2))

DISTRIBUTIONS = {  # name: options, standard deviation, greatest absolute value
    "uniform_": ({"a": -2.0, "b": 2.0}, 2 / math.sqrt(3), 2),
    "normal_": ({"std": 3.0}, 3, None),
    "xavier_uniform_": ({"gain": 2.0}, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)), 2 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
    "xavier_normal_": ({}, math.sqrt(2 / (FAN_IN + FAN_OUT)), None),
    "kaiming_uniform_": ({"a": 0.5}, SLOPE / math.sqrt(FAN_IN), SLOPE * math.sqrt(3 / FAN_IN)),
    "kaiming_normal_": ({"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / FAN_OUT), None),
    "trunc_normal_": ({"std": 2.0, "a": -4.0, "b": 4.0}, 2 * 0.8796, 4),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_random_values_have_the_right_distribution(name):
    options, std, greatest = DISTRIBUTIONS[name]
    generator = nbtorch.Generator().manual_seed(1)
    values = getattr(init, name)(nbtorch.empty(50, 60, 5), generator=generator, **options).numpy()
    assert values.std() == pytest.approx(std, rel=0.03)
    assert abs(values.mean()) < 0.03 * std
    if greatest is not None:
        assert np.abs(values).max() <= greatest * (1 + 1e-6)


@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "orthogonal_", "sparse_"])
def test_a_generator_decides_the_values(name):
    options = {"sparsity": 0.3} if name == "sparse_" else {}
    tensors = [
        getattr(init, name)(nbtorch.empty(4, 5), generator=nbtorch.Generator().manual_seed(seed), **options).tolist()
        for seed in (1, 1, 2)
    ]
    assert tensors[0] == tensors[1] != tensors[2]


@pytest.mark.parametrize(("a", "b"), [(-1.0, 0.5), (3.0, 4.0), (-9.0, -8.0), (8.0, 30.0)])
def test_truncated_normal_values_follow_their_distribution(a, b):
    generator = nbtorch.Generator().manual_seed(0)
    if max(a, -b) > 2:
        with pytest.warns(UserWarning, match="more than 2 std"):
            tensor = init.trunc_normal_(nbtorch.empty(2000, dtype=nbtorch.float64), a=a, b=b, generator=generator)
    else:
        tensor = init.trunc_normal_(nbtorch.empty(2000, dtype=nbtorch.float64), a=a, b=b, generator=generator)
    values = np.sort(tensor.numpy())
    assert a <= values[0] and values[-1] <= b
    sign = 1 if b <= 0 else -1  # the distribution function, from the side where it is small
    cdf = [0.5 * math.erfc(-sign * x / math.sqrt(2)) for x in (*values, a, b)]
    share = (np.array(cdf[:-2]) - cdf[-2]) / (cdf[-1] - cdf[-2])
    assert np.abs(share - (np.arange(2000) + 0.5) / 2000).max() < 0.04  # Kolmogorov and Smirnov


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 2, 3)])
def test_orthogonal_rows_or_columns(shape):
    tensor = init.orthogonal_(nbtorch.empty(*shape, dtype=nbtorch.float64), gain=2.0)
    matrix = tensor.numpy().reshape(shape[0], -1) / 2
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)


def test_sparse_columns_have_their_share_of_zeros():
    values = init.sparse_(nbtorch.empty(10, 6), sparsity=0.25, std=2.0).numpy()
    assert (values == 0).sum(axis=0).tolist() == [3] * 6
    assert len({tuple(column) for column in (values == 0).T}) > 1
