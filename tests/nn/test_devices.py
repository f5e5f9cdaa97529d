"""Modules and optimizers on CUDA, in the simulator: in a process of its own, for it is chosen before the import."""

import os
import subprocess
import sys

PROGRAM = """
import copy, pickle
import nbtorch
from nbtorch import nn, optim

net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
assert all(p.is_cuda for p in net.parameters())
for name in ("orthogonal_", "trunc_normal_", "xavier_normal_", "kaiming_uniform_", "eye_", "zeros_"):
    assert getattr(nn.init, name)(nbtorch.empty(3, 4)).is_cuda
assert nn.init.sparse_(nbtorch.empty(3, 4), 0.5).is_cuda and nn.init.dirac_(nbtorch.empty(3, 4, 3)).is_cuda

seen = []
net[2].register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_input[0].is_cuda))
for kind in (optim.SGD, optim.Adam):
    optimizer = kind(net.parameters(), lr=0.05)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.MSELoss()(net(nbtorch.ones(2, 3)), nbtorch.full((2, 1), 3.0))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], losses
    twin = kind(copy.deepcopy(net).parameters())
    twin.load_state_dict(optimizer.state_dict())
    means = [v for s in twin.state.values() for k, v in s.items() if k != "step"]
    assert all(mean.is_cuda for mean in means)
assert seen == [True] * 8

net[2]._call_hooks.clear()
state = net.cpu().state_dict()
assert not any(value.is_cuda for value in state.values())
assert net.cuda().load_state_dict(state) and net[0].weight.is_cuda
assert pickle.loads(pickle.dumps(net))[0].weight.is_cuda
assert "(cuda:0)" in repr(nn.ParameterList([nbtorch.ones(2)]))
assert not nn.Linear(1, 1, device="cpu").weight.is_cuda
"""


def test_everything_stays_on_the_device():
    environment = {**os.environ, "NBTORCH_DEVICE": "cuda", "NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
