"""What a second process compiles, and what a step asks the system for once it is warm: nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODELS = """
import sys
import nbtorch as torch
from benchmarks.networks import lenet
from nbtorch import nn
from nbtorch.kernels import jit

torch.set_num_threads(2)
torch.manual_seed(0)

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block = nn.Sequential(
            nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        return self.head(nn.functional.relu(self.block(x) + x).mean((2, 3)))

MODELS = {
    "LeNet": (lambda: lenet(torch), (16, 1, 28, 28)),
    "LSTM": (Recurrent, (4, 10, 8)),
    "residual network": (Residual, (8, 3, 32, 32)),
}
make, shape = MODELS[sys.argv[1]]
model, inputs, labels = make(), torch.randn(*shape), torch.zeros(shape[0], dtype=torch.int64)
update = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

def step():
    update.zero_grad()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    update.step()
"""
COMPILED = MODELS + "step()\nprint(jit.compilations())"
FAULTS = (
    MODELS
    + """
import resource
for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
)


def printed(program: str, model: str) -> int:
    command = [sys.executable, "-c", program, model]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=500).stdout)


@pytest.mark.parametrize("model", ["LeNet", "LSTM"])
def test_the_second_process_compiles_nothing(model):
    printed(COMPILED, model)
    assert printed(COMPILED, model) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
@pytest.mark.parametrize("model", ["LeNet", "residual network"])
def test_a_warm_step_asks_the_system_for_no_memory(model):
    assert printed(FAULTS, model) < 20 * 10, "page faults in 20 steps"
