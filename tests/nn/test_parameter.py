"""Parameter and Buffer behave as PyTorch's."""

import copy
import pickle

import numpy as np
import pytest

import nbtorch
from nbtorch import nn

ROWS = {
    "parameter": lambda torch: torch.nn.Parameter(torch.ones(2)),
    "text": lambda torch: repr(torch.nn.Parameter(torch.ones(2))),
    "text without gradient": lambda torch: repr(torch.nn.Parameter(torch.ones(2), requires_grad=False)),
    "nothing": lambda torch: torch.nn.Parameter(),
    "3": lambda torch: torch.nn.Parameter(3),
    "list": lambda torch: torch.nn.Parameter([1.0]),
    "int": lambda torch: torch.nn.Parameter(torch.ones(2, dtype=torch.int32)),
    "int without gradient": lambda torch: torch.nn.Parameter(torch.ones(2, dtype=torch.int32), False),
    "of a parameter": lambda torch: torch.nn.Parameter(torch.nn.Parameter(torch.ones(2)), False),
    "of a result": lambda torch: torch.nn.Parameter(torch.ones(2, requires_grad=True) * 2),
    "result": lambda torch: torch.nn.Parameter(torch.ones(2)) + 1,
    "data": lambda torch: torch.nn.Parameter(torch.ones(2)).data,
    "detach": lambda torch: torch.nn.Parameter(torch.ones(2)).detach(),
    "clone": lambda torch: torch.nn.Parameter(torch.ones(2)).clone(),
    "converted": lambda torch: torch.nn.Parameter(torch.ones(2)).to(torch.float64),
    "deepcopy": lambda torch: copy.deepcopy(torch.nn.Parameter(torch.ones(2))),
    "pickle": lambda torch: pickle.loads(pickle.dumps(torch.nn.Parameter(torch.ones(2)))),
    "is a tensor": lambda torch: isinstance(torch.nn.Parameter(torch.ones(2)), torch.Tensor),
    "tensor is none": lambda torch: isinstance(torch.ones(2), (torch.nn.Parameter, torch.nn.Buffer)),
    "buffer text": lambda torch: repr(torch.nn.Buffer(torch.ones(2))),
    "buffer of nothing": lambda torch: tuple(torch.nn.Buffer().shape),
    "buffer of 3": lambda torch: torch.nn.Buffer(3),
    "buffer": lambda torch: isinstance(torch.nn.Buffer(torch.ones(2)), torch.nn.Buffer),
    "persistent": lambda torch: torch.nn.Buffer(torch.ones(2)).persistent,
    "not persistent": lambda torch: torch.nn.Buffer(torch.ones(2), persistent=False).persistent,
}


@pytest.mark.parametrize("program", ROWS.values(), ids=ROWS)
def test_as_in_pytorch(program, same):
    same(program)


@pytest.mark.parametrize("kind", [nn.Parameter, nn.Buffer])
def test_memory_is_shared(kind):
    tensor = nbtorch.ones(2)
    made = kind(tensor)
    tensor.fill_(3.0)
    assert made.tolist() == [3.0, 3.0]
    assert np.shares_memory(made.detach().numpy(), tensor.numpy())
