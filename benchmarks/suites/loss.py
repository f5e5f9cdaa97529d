"""Losses, their values alone and with gradients, from the logits of a classifier to those of a segmentation."""

from typing import Any

CLASSES = {
    "64 x 10": (64, 10),
    "256 x 1000": (256, 1000),
    "4096 x 1000": (4096, 1000),
    "32 x 21 x 64 x 64": (32, 21, 64, 64),
}
PAIRS = {"64 x 10": (64, 10), "256 x 1024": (256, 1024), "16 x 3 x 256 x 256": (16, 3, 256, 256)}


def of_classes(name: str, shape: tuple[int, ...], **options: Any):
    """Return the pieces of a case: the function of scores and class indices."""

    def prepare(torch: Any):
        x = torch.randn(*shape)
        if name == "nll_loss":
            x = torch.nn.functional.log_softmax(x, 1)
        labels = torch.randint(0, shape[1], (shape[0], *shape[2:]))
        chosen = {"weight": torch.rand(shape[1])} if options.get("weight") else options
        function = getattr(torch.nn.functional, name)
        return x, lambda x: function(x, labels, **chosen)

    return prepare


def of_distributions(torch: Any):
    """Return the pieces of a case: cross entropy with the probabilities of 1,000 classes."""
    x, target = torch.randn(256, 1000), torch.randn(256, 1000).softmax(1)
    return x, lambda x: torch.nn.functional.cross_entropy(x, target)


def of_pairs(name: str, shape: tuple[int, ...]):
    """Return the pieces of a case: the function of values and targets of one shape."""

    def prepare(torch: Any):
        x, target = torch.randn(*shape), torch.rand(*shape)
        options = {"reduction": "batchmean"} if name == "kl_div" else {}
        function = getattr(torch.nn.functional, name)
        return x, lambda x: function(x, target, **options)

    return prepare


def case(pieces: Any, backward: bool):
    """Return a case: the loss, or the loss and its gradient."""

    def prepare(torch: Any):
        x, function = pieces(torch)
        x.requires_grad_(backward)

        def step() -> None:
            if not backward:
                function(x)
                return
            x.grad = None
            function(x).backward()

        return step

    return prepare


ALL = (
    {f"cross entropy, {size}": of_classes("cross_entropy", shape) for size, shape in CLASSES.items()}
    | {
        "cross entropy, weights, 256 x 1000": of_classes("cross_entropy", (256, 1000), weight=True),
        "cross entropy, smoothed, 256 x 1000": of_classes("cross_entropy", (256, 1000), label_smoothing=0.1),
        "cross entropy, probabilities, 256 x 1000": of_distributions,
    }
    | {f"nll, {size}": of_classes("nll_loss", CLASSES[size]) for size in ("64 x 10", "256 x 1000", "32 x 21 x 64 x 64")}
    | {
        f"{name.removesuffix('_loss').replace('_', ' ')}, {size}": of_pairs(name, shape)
        for name in (
            "mse_loss",
            "l1_loss",
            "smooth_l1_loss",
            "huber_loss",
            "binary_cross_entropy_with_logits",
            "kl_div",
        )
        for size, shape in PAIRS.items()
    }
)

CASES = {
    f"{name}{', backward' if backward else ''}": case(pieces, backward)
    for name, pieces in ALL.items()
    for backward in (False, True)
}
