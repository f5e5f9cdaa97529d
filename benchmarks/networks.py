"""The networks that whole steps are timed on, each written for nbtorch and PyTorch alike."""

from collections.abc import Callable
from typing import Any


def mlp(torch: Any) -> Any:
    """Return a perceptron of three layers for 28 x 28 digits."""
    nn = torch.nn
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


def lenet(torch: Any) -> Any:
    """Return LeNet-5 for 28 x 28 digits."""
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

    return LeNet()


def resnet18(torch: Any) -> Any:
    """Return ResNet-18 for 32 x 32 images: a 3 x 3 stem without pooling."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Identity()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.bn1(self.conv1(x)))
            return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def vgg11(torch: Any) -> Any:
    """Return VGG-11 with batch normalisation for 32 x 32 images."""
    nn = torch.nn
    layers: list[Any] = []
    channels = 3
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def unet3d(torch: Any) -> Any:
    """Return a UNet of three levels for volumes."""
    nn = torch.nn

    def double(inputs: int, outputs: int) -> Any:
        return nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, padding=1),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01),
            nn.Conv3d(outputs, outputs, 3, padding=1),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01),
        )

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([double(1, 16), double(16, 32), double(32, 64)])
            self.pool = nn.MaxPool3d(2)
            self.up = nn.ModuleList([nn.ConvTranspose3d(64, 32, 2, 2), nn.ConvTranspose3d(32, 16, 2, 2)])
            self.merge = nn.ModuleList([double(64, 32), double(32, 16)])
            self.head = nn.Conv3d(16, 2, 1)

        def forward(self, x: Any) -> Any:
            first = self.down[0](x)
            second = self.down[1](self.pool(first))
            x = self.down[2](self.pool(second))
            x = self.merge[0](torch.cat([self.up[0](x), second], 1))
            x = self.merge[1](torch.cat([self.up[1](x), first], 1))
            return self.head(x)

    return UNet()


def audio_cnn(torch: Any) -> Any:
    """Return a network of 1-d convolutions for a second of sound at 16 kHz (after M5, Dai et al. 2017)."""
    nn = torch.nn
    layers: list[Any] = []
    channels = 1
    for width, kernel, stride in ((32, 80, 16), (32, 3, 1), (64, 3, 1), (64, 3, 1)):
        layers += [nn.Conv1d(channels, width, kernel, stride), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(4)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 35))


def dcgan_generator(torch: Any) -> Any:
    """Return DCGAN's generator of 64 x 64 images from 100 random numbers (Radford et al. 2016)."""
    nn = torch.nn
    layers: list[Any] = [nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False), nn.BatchNorm2d(512), nn.ReLU()]
    for inputs, outputs in ((512, 256), (256, 128), (128, 64)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())


def dcgan_discriminator(torch: Any) -> Any:
    """Return DCGAN's discriminator of 64 x 64 images."""
    nn = torch.nn
    layers: list[Any] = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in ((64, 128), (128, 256), (256, 512)):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 0, bias=False), nn.Flatten(0))


NETWORKS: dict[str, Callable[[Any], Any]] = {
    "LeNet": lenet,
    "ResNet-18": resnet18,
    "VGG-11": vgg11,
    "UNet 3-d": unet3d,
    "audio CNN": audio_cnn,
    "MLP": mlp,
}

INPUTS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "LeNet, batch 1": ("LeNet", (1, 1, 28, 28), 10),
    "LeNet, batch 64": ("LeNet", (64, 1, 28, 28), 10),
    "ResNet-18, 32 x 32, batch 32": ("ResNet-18", (32, 3, 32, 32), 10),
    "VGG-11, 32 x 32, batch 16": ("VGG-11", (16, 3, 32, 32), 10),
    "UNet 3-d, 32 x 32 x 32, batch 1": ("UNet 3-d", (1, 1, 32, 32, 32), 2),
    "audio CNN, batch 8": ("audio CNN", (8, 1, 16000), 35),
    "MLP, batch 256": ("MLP", (256, 784), 10),
}
"""Names of cases: the network, the shape of the input, and the number of classes."""
