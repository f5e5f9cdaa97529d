"""Whole training steps: forward, backward, optimizer."""

from typing import Any


def lenet(batch: int, optimizer: str = "SGD", **options: Any):
    """Return a case: one step of LeNet-5 on 28 x 28 digits."""

    def prepare(torch: Any):
        nn, functional = torch.nn, torch.nn.functional

        class LeNet(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
                self.conv2 = nn.Conv2d(6, 16, 5)
                self.fc1 = nn.Linear(16 * 5 * 5, 120)
                self.fc2 = nn.Linear(120, 84)
                self.fc3 = nn.Linear(84, 10)

            def forward(self, x: Any) -> Any:
                x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
                x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
                x = functional.relu(self.fc1(x.flatten(1)))
                return self.fc3(functional.relu(self.fc2(x)))

        torch.manual_seed(0)
        net = LeNet()
        update = getattr(torch.optim, optimizer)(net.parameters(), **options)
        images, labels = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))

        def step() -> None:
            update.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
            update.step()

        return step

    return prepare


CASES = {
    "LeNet, batch 1, SGD": lenet(1, lr=0.01),
    "LeNet, batch 8, SGD": lenet(8, lr=0.01),
    "LeNet, batch 64, SGD": lenet(64, lr=0.01),
    "LeNet, batch 64, SGD with momentum": lenet(64, lr=0.01, momentum=0.9),
    "LeNet, batch 64, Adam": lenet(64, "Adam", lr=1e-3),
    "LeNet, batch 256, SGD": lenet(256, lr=0.01),
}
