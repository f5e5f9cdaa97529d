"""The first programs that every PyTorch user writes. But for the imports they are what one writes for PyTorch."""

import nbtorch as torch
import nbtorch.nn as nn
import nbtorch.nn.functional as F
import nbtorch.optim as optim


def gradient() -> None:
    """Differentiate the mean of 3 (x + 2)² at ones: every element of the gradient is 4.5."""
    x = torch.ones(2, 2, requires_grad=True)
    y = x + 2
    z = y * y * 3
    z.mean().backward()
    print(x.grad)


class Net(nn.Module):
    """A LeNet for images (N, 1, 32, 32), with scores (N, 10)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)

    def num_flat_features(self, x):
        """Return how many numbers describe one image."""
        count = 1
        for extent in x.size()[1:]:
            count *= extent
        return count


def train() -> None:
    """Fit random targets for 100 steps."""
    torch.manual_seed(0)
    net = Net()
    print(net)

    input = torch.randn(1, 1, 32, 32)
    target = torch.randn(10).view(1, -1)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        output = net(input)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
    print(loss)


if __name__ == "__main__":
    gradient()
    train()
