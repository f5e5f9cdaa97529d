"""Anomaly detection: an error in backward names the line of the forward call that caused it.

While it is on, each recorded node keeps the stack of the call that made it (in `node.metadata["traceback_"]`), and
backward checks what the nodes return for NaN. While it is off, recording and backward each pay a test of one attribute.
"""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .grad_mode import observers

if TYPE_CHECKING:
    from .graph import Node


class _AnomalyMode:
    """Whether detection is on, in all threads."""

    enabled = False
    check_nan = True


mode = _AnomalyMode()


def is_anomaly_enabled() -> bool:
    """Return whether anomaly detection is on."""
    return mode.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Return whether anomaly detection, where it is on, looks for NaN."""
    return mode.check_nan


def _switch(enabled: bool, check_nan: bool) -> None:
    if bool(enabled) != mode.enabled:
        (observers.add if enabled else observers.remove)()
    mode.enabled, mode.check_nan = bool(enabled), bool(check_nan)


class set_detect_anomaly:
    """Switch anomaly detection on or off, at once and for good, or for the length of a `with` block.

    Args:
        mode: whether it is on.
        check_nan: whether a NaN in a gradient is an error.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._previous = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        _switch(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _switch(*self._previous)


class detect_anomaly:
    """Context in which backward raises on NaN, and warns with the forward call that caused an error.

    It slows down every operation: for debugging only.

    Args:
        check_nan: whether a NaN in a gradient is an error.

    >>> import nbtorch
    >>> x = nbtorch.zeros(1, requires_grad=True)
    >>> with nbtorch.autograd.set_detect_anomaly(True):
    ...     (x / x).sum().backward()
    Traceback (most recent call last):
    RuntimeError: Function 'DivBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._previous = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for"
            " debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._previous = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        _switch(True, self._check_nan)

    def __exit__(self, *exception: object) -> None:
        _switch(*self._previous)


_PACKAGE = Path(__file__).parents[1]


def _is_internal(frame: traceback.FrameSummary) -> bool:
    """Whether a frame belongs to an operation rather than to the user's code or a module."""
    path = Path(frame.filename)
    return path.is_relative_to(_PACKAGE) and not path.is_relative_to(_PACKAGE / "nn")


def remember(node: Node) -> None:
    """Keep the stack of the call that made a node, and the node whose backward made it, if any."""
    stack = traceback.extract_stack()
    while stack and _is_internal(stack[-1]):
        stack.pop()
    node.metadata["traceback_"] = traceback.format_list(stack)
    if _running:
        node.metadata["parent_"] = _running[-1]


_running: list[Node] = []  # the nodes whose backward is being computed


def checked_backward(node: Node, grads: Any) -> Any:
    """Run a node's backward; where it fails or gives NaN, warn with the forward call that made the node."""
    _running.append(node)
    try:
        results = node.backward(*grads)
        if mode.check_nan:
            _refuse_nan(node, results if type(results) is tuple else (results,))
    except Exception:
        _warn_of(node)
        raise
    finally:
        _running.pop()
    return results


def _refuse_nan(node: Node, results: tuple[Any, ...]) -> None:
    for position, gradient in enumerate(results):
        if gradient is not None and bool((gradient.detach() != gradient.detach()).any()):
            raise RuntimeError(f"Function '{node.name}' returned nan values in its {position}th output.")


def _warn_of(node: Node) -> None:
    """Warn with the stack of the call that made a node, and of those that led to it."""
    stack = node.metadata.get("traceback_")
    if stack is None:
        warnings.warn(
            f"Error detected in {node.name}. No forward pass information available. Enable detect anomaly during"
            " forward pass for more information.",
            stacklevel=4,
        )
        return
    warnings.warn(
        f"Error detected in {node.name}. Traceback of forward call that caused the error:\n{''.join(stack)}",
        stacklevel=4,
    )
    parent = node.metadata.get("parent_")
    while parent is not None:
        stack = parent.metadata.get("traceback_")
        if stack is None:
            warnings.warn(
                f"\n\nPrevious calculation was induced by {parent.name}. No forward pass information available. Enable"
                " detect anomaly during forward pass for more information.",
                stacklevel=4,
            )
            return
        warnings.warn(
            f"\n\nPrevious calculation was induced by {parent.name}. Traceback of forward call that induced the"
            f" previous calculation:\n{''.join(stack)}",
            stacklevel=4,
        )
        parent = parent.metadata.get("parent_")
