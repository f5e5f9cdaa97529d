"""Normalisation and softmax, in evaluation and in training with backward, large and small."""

from typing import Any

LAYERS = {
    "batch norm 2d, 32 x 64 x 56 x 56": (lambda nn: nn.BatchNorm2d(64), (32, 64, 56, 56)),
    "batch norm 2d, 4 x 16 x 8 x 8": (lambda nn: nn.BatchNorm2d(16), (4, 16, 8, 8)),
    "batch norm 1d, 256 x 512": (lambda nn: nn.BatchNorm1d(512), (256, 512)),
    "batch norm 2d, 64 x 6 x 12 x 12": (lambda nn: nn.BatchNorm2d(6), (64, 6, 12, 12)),
    "batch norm 1d, 32 x 64": (lambda nn: nn.BatchNorm1d(64), (32, 64)),
    "batch norm 2d, 32 x 512 x 2 x 2": (lambda nn: nn.BatchNorm2d(512), (32, 512, 2, 2)),
    "batch norm 3d, 2 x 16 x 16 x 32 x 32": (lambda nn: nn.BatchNorm3d(16), (2, 16, 16, 32, 32)),
    "group norm, 16 x 64 x 32 x 32": (lambda nn: nn.GroupNorm(8, 64), (16, 64, 32, 32)),
    "group norm, 4 x 16 x 8 x 8": (lambda nn: nn.GroupNorm(4, 16), (4, 16, 8, 8)),
    "instance norm 2d, 4 x 16 x 8 x 8": (lambda nn: nn.InstanceNorm2d(16), (4, 16, 8, 8)),
    "instance norm 2d, 16 x 32 x 32 x 32": (lambda nn: nn.InstanceNorm2d(32, affine=True), (16, 32, 32, 32)),
    "layer norm, 4096 x 768": (lambda nn: nn.LayerNorm(768), (4096, 768)),
    "layer norm, 8 x 64": (lambda nn: nn.LayerNorm(64), (8, 64)),
    "RMS norm, 4096 x 768": (lambda nn: nn.RMSNorm(768), (4096, 768)),
    "RMS norm, 8 x 64": (lambda nn: nn.RMSNorm(64), (8, 64)),
    "local response norm, 8 x 32 x 27 x 27": (lambda nn: nn.LocalResponseNorm(5), (8, 32, 27, 27)),
    "softmax, 4096 x 1000": (lambda nn: nn.Softmax(1), (4096, 1000)),
    "softmax, 16 x 10": (lambda nn: nn.Softmax(1), (16, 10)),
    "softmax over channels, 8 x 64 x 56 x 56": (lambda nn: nn.Softmax2d(), (8, 64, 56, 56)),
    "softmax, 8 x 12 x 64 x 64": (lambda nn: nn.Softmax(-1), (8, 12, 64, 64)),
    "log-softmax, 64 x 10": (lambda nn: nn.LogSoftmax(1), (64, 10)),
    "log-softmax, 4096 x 1000": (lambda nn: nn.LogSoftmax(1), (4096, 1000)),
}


def case(make: Any, shape: tuple[int, ...], backward: bool):
    """Return a case: a layer in evaluation, or in training with its gradients."""

    def prepare(torch: Any):
        layer = make(torch.nn).train(backward)
        x, grad = torch.randn(*shape, requires_grad=backward), torch.ones(*shape)

        def step() -> None:
            if not backward:
                with torch.no_grad():
                    layer(x)
                return
            x.grad = None
            layer.zero_grad()
            layer(x).backward(grad)

        return step

    return prepare


CASES = {
    f"{name}{', training' if backward else ''}": case(make, shape, backward)
    for name, (make, shape) in LAYERS.items()
    for backward in (False, True)
}
