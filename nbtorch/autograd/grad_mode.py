"""Whether operations are recorded: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`."""

from __future__ import annotations

import abc
import functools
import inspect
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(threading.local):
    enabled = True  # whether operations are recorded
    inference = False
    asked = False  # within inference mode, where nothing is recorded: whether the user enabled recording
    saved_tensors_hooks: tuple[Any, ...] = ()  # pairs of hooks, the innermost last
    saved_tensors_hooks_disabled: str | None = None  # the error text for those who try
    walk: Any = None  # the engine's pass that is going on


state = _GradMode()


class _Observers:
    """How many contexts, in all threads, want to see what operations make: the one thing that operations test."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """Count one more."""
        with self._lock:
            self.count += 1

    def remove(self) -> None:
        """Count one less."""
        with self._lock:
            self.count -= 1


observers = _Observers()


def _switch(enabled: bool) -> bool:
    """Switch recording on or off in this thread and return what it was; `inference_mode` keeps it off."""
    if state.inference:
        previous, state.asked = state.asked, enabled
    else:
        previous, state.enabled = state.enabled, enabled
    return previous


def is_grad_enabled() -> bool:
    """Return whether operations are recorded in this thread, or would be if it were not for `inference_mode`."""
    return state.asked if state.inference else state.enabled


def is_inference_mode_enabled() -> bool:
    """Return whether this thread is inside `inference_mode`."""
    return state.inference


class _ContextDecorator:
    """A context manager that also decorates functions and generator functions, entered anew for each call."""

    def _again(self) -> _ContextDecorator:
        return type(self)()

    @abc.abstractmethod
    def __enter__(self) -> None: ...

    @abc.abstractmethod
    def __exit__(self, *exception: object) -> None: ...

    def __call__(self, function: F) -> F:
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate"
                " functions or methods. To preserve the current behavior of class decoration, you can directly decorate"
                " the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)  # type: ignore[return-value]

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return decorated  # type: ignore[return-value]

    def _wrap_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Enter the context only while the generator's own code runs, not between its values."""

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume, value = generator.send, None
            while True:
                try:
                    with self._again():
                        item = resume(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    resume, value = generator.send, (yield item)
                except GeneratorExit:
                    with self._again():
                        generator.close()
                    raise
                except BaseException as error:
                    resume, value = generator.throw, error

        return decorated


class _Mode(_ContextDecorator):
    _value: bool

    def __enter__(self) -> None:
        self._previous = _switch(self._value)

    def __exit__(self, *exception: object) -> None:
        _switch(self._previous)


class no_grad(_Mode):
    """Context manager and decorator: operations inside are not recorded.

    >>> import nbtorch
    >>> x = nbtorch.ones(2, requires_grad=True)
    >>> with nbtorch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _value = False

    def __new__(cls, function: Any = None) -> Any:
        """Make a context, or decorate a function at once."""
        self = super().__new__(cls)
        return self if function is None else self(function)


class enable_grad(_Mode):
    """Context manager and decorator: operations inside are recorded, also within `no_grad`."""

    _value = True

    def __new__(cls, function: Any = None) -> Any:
        """Make a context, or decorate a function at once."""
        self = super().__new__(cls)
        return self if function is None else self(function)


class set_grad_enabled(_ContextDecorator):
    """Switch recording on or off, at once and for good, or for the length of a `with` block."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._previous = _switch(bool(mode))

    def _again(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)

    def __call__(self, function: F) -> F:
        """Decorate a function; the mode outside is as it was."""
        _switch(self._previous)
        return super().__call__(function)

    def __enter__(self) -> None:
        _switch(bool(self.mode))

    def __exit__(self, *exception: object) -> None:
        _switch(self._previous)


class inference_mode(_ContextDecorator):
    """Context manager and decorator: like `no_grad`, for code that will never need gradients.

    Tensors made inside (`Tensor.is_inference`) can be used outside, but not saved for backward or changed in place
    there; a clone can.

    Args:
        mode: whether the mode is on; False records within an outer `inference_mode` or `no_grad`.
    """

    def __new__(cls, mode: Any = True) -> Any:
        """Make a context, or decorate a function at once."""
        if callable(mode):
            return super().__new__(cls)._configured(True)(mode)
        return super().__new__(cls)._configured(mode)

    def _configured(self, mode: bool) -> inference_mode:
        self.mode = mode
        return self

    def _again(self) -> inference_mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self._previous = state.enabled, state.inference, state.asked
        state.enabled, state.inference, state.asked = not self.mode, bool(self.mode), False
        observers.add()

    def __exit__(self, *exception: object) -> None:
        state.enabled, state.inference, state.asked = self._previous
        observers.remove()


class set_multithreading_enabled(_ContextDecorator):
    """Accepted for PyTorch's interface, as a call, a context or a decorator: backward runs in the calling thread."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def _again(self) -> set_multithreading_enabled:
        return set_multithreading_enabled(self.mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass
