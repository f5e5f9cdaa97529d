"""Whole steps as users take them: training (zero_grad, forward, backward, optimizer) and inference."""

from collections.abc import Callable
from typing import Any

from ..networks import INPUTS, NETWORKS, dcgan_discriminator, dcgan_generator

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.01, "momentum": 0.9}),
    "Adam": ("Adam", {"lr": 1e-3}),
}
DCGAN = "DCGAN, 64 x 64, batch 16"


def training(name: str, optimizer: str):
    """Return a case: a step of a classifier, of a whole input or of each of its elements."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        network, shape, classes = INPUTS[name]
        model = NETWORKS[network](torch)
        kind, options = OPTIMIZERS[optimizer]
        update = getattr(torch.optim, kind)(model.parameters(), **options)
        inputs = torch.randn(*shape)
        elements = shape[2:] if network.startswith("UNet") else ()
        labels = torch.randint(0, classes, (shape[0], *elements))
        cross_entropy = torch.nn.functional.cross_entropy

        def step() -> None:
            update.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            update.step()

        return step

    return prepare


def inference(name: str):
    """Return a case: a network in evaluation."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        network, shape, _ = INPUTS[name]
        model, inputs = NETWORKS[network](torch).eval(), torch.randn(*shape)

        def step() -> None:
            with torch.no_grad():
                model(inputs)

        return step

    return prepare


def dcgan_training(optimizer: str):
    """Return a case: a step of discriminator and generator."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        generator, discriminator = dcgan_generator(torch), dcgan_discriminator(torch)
        kind, options = OPTIMIZERS[optimizer]
        updates = [getattr(torch.optim, kind)(net.parameters(), **options) for net in (generator, discriminator)]
        images, noise = torch.rand(16, 3, 64, 64) * 2 - 1, torch.randn(16, 100, 1, 1)
        real, fake = torch.ones(16), torch.zeros(16)
        loss = torch.nn.BCEWithLogitsLoss()

        def step() -> None:
            made = generator(noise)
            updates[1].zero_grad()
            (loss(discriminator(images), real) + loss(discriminator(made.detach()), fake)).backward()
            updates[1].step()
            updates[0].zero_grad()
            loss(discriminator(made), real).backward()
            updates[0].step()

        return step

    return prepare


def dcgan_inference(torch: Any):
    """Make images."""
    torch.manual_seed(0)
    generator, noise = dcgan_generator(torch).eval(), torch.randn(16, 100, 1, 1)

    def step() -> None:
        with torch.no_grad():
            generator(noise)

    return step


TRAINING: dict[str, Callable[[Any], Callable[[], None]]] = {
    f"{name}, {optimizer}": dcgan_training(optimizer) if name == DCGAN else training(name, optimizer)
    for name in (*INPUTS, DCGAN)
    for optimizer in OPTIMIZERS
}
CASES = TRAINING | {
    f"{name}, inference": dcgan_inference if name == DCGAN else inference(name) for name in (*INPUTS, DCGAN)
}
