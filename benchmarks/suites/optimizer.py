"""One step of each optimizer, on the parameters of a small network and on those of a large one."""

from typing import Any

from ..networks import NETWORKS

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 1e-3}),
    "SGD with momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}),
    "Adam": ("Adam", {"lr": 1e-3}),
    "AdamW": ("AdamW", {"lr": 1e-3}),
    "Adagrad": ("Adagrad", {}),
    "Adadelta": ("Adadelta", {}),
    "Adamax": ("Adamax", {}),
    "NAdam": ("NAdam", {}),
    "RAdam": ("RAdam", {}),
    "RMSprop": ("RMSprop", {}),
    "Rprop": ("Rprop", {}),
    "ASGD": ("ASGD", {}),
}


def case(network: str, optimizer: str, options: dict[str, Any]):
    """Return a case: one step, the gradients being there."""

    def prepare(torch: Any):
        parameters = list(NETWORKS[network](torch).parameters())
        for parameter in parameters:
            parameter.grad = torch.full(tuple(parameter.shape), 1e-3)
        return getattr(torch.optim, optimizer)(parameters, **options).step

    return prepare


CASES = {
    f"{name}, {network}": case(network, optimizer, options)
    for network in ("LeNet", "MLP", "ResNet-18")
    for name, (optimizer, options) in OPTIMIZERS.items()
}
