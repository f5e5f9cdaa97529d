"""Gradients checked against finite differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor
from .engine import grad
from .grad_mode import no_grad


class GradcheckError(RuntimeError):
    """A gradient differs from its finite difference."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
) -> bool:
    """Compare the gradients of `func` with central differences.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a sequence of arguments; those float64 and complex128 tensors that
            require gradients are checked.
        eps: the step of the finite differences.
        atol: absolute tolerance.
        rtol: relative tolerance.
        raise_exception: raise on a difference instead of returning False.
        nondet_tol: how far two runs of the same backward may differ.
        check_undefined_grad: accepted for PyTorch's signature; outputs are differentiated one at a time in any case.

    Raises:
        GradcheckError: a gradient is wrong; the text shows both Jacobians.
        ValueError: no input requires a gradient.
    """
    arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    try:
        _check_outputs(func, arguments, checked, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _differentiable(outputs: Any) -> list[Tensor]:
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [o for o in outputs if isinstance(o, Tensor) and o.requires_grad]


def _check_outputs(
    func: Callable[..., Any],
    arguments: tuple[Any, ...],
    checked: list[Tensor],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
) -> None:
    outputs = _differentiable(func(*arguments))
    if not outputs:
        _require_constant(func, arguments, checked, eps)
        return
    for number, output in enumerate(outputs):
        analytic = _analytic_jacobians(output, checked)
        again = _analytic_jacobians(output, checked)
        for position, x in enumerate(checked):
            if analytic[position].size and np.abs(analytic[position] - again[position]).max() > nondet_tol:
                raise GradcheckError(
                    f"Backward is not reentrant: two runs differ for output {number}, input {position}"
                )
            numerical = _numerical_jacobian(func, arguments, x, number, eps)
            if not np.allclose(analytic[position], numerical, rtol, atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {position},\n"
                    f"numerical:{numerical}\nanalytical:{analytic[position]}\n"
                )


def _require_constant(func: Callable[..., Any], arguments: tuple[Any, ...], checked: list[Tensor], eps: float) -> None:
    """An output without a graph must not depend on the inputs."""
    for x in checked:
        if np.abs(_numerical_jacobian(func, arguments, x, None, eps)).max(initial=0) > 0:
            raise GradcheckError("Numerical gradient for function expected to be zero")


def _analytic_jacobians(output: Tensor, checked: list[Tensor]) -> list[np.ndarray]:
    """Return for each input the matrix of derivatives, (input numbers, output numbers), complex ones as two each."""
    columns = output.numel() * (2 if output.is_complex() else 1)
    jacobians = [np.zeros((x.numel() * (2 if x.is_complex() else 1), columns)) for x in checked]
    for column in range(columns):
        unit = np.zeros(tuple(output.shape), np.complex128 if output.is_complex() else np.float64)
        _reals(unit)[column] = 1
        seed = output._like_array(unit)
        gradients = grad(output, checked, seed, retain_graph=True, allow_unused=True)
        for jacobian, gradient, x in zip(jacobians, gradients, checked, strict=True):
            if gradient is not None:
                if gradient.shape != x.shape or gradient.dtype is not x.dtype:
                    raise GradcheckError(
                        f"a gradient has shape {tuple(gradient.shape)} and type {gradient.dtype}, its input"
                        f" {tuple(x.shape)} and {x.dtype}"
                    )
                jacobian[:, column] = _reals(gradient.detach().cpu().numpy())
    return jacobians


def _reals(array: np.ndarray) -> np.ndarray:
    """Return the elements as a flat array of real numbers, a complex one as two; a view if the array is contiguous."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(flat.real.dtype)


def _numerical_jacobian(
    func: Callable[..., Any], arguments: tuple[Any, ...], x: Tensor, number: int | None, eps: float
) -> np.ndarray:
    """Return the central differences of one output, or of all when `number` is None."""

    def evaluate() -> np.ndarray:
        fresh = tuple(a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in arguments)
        outputs = func(*fresh)
        if number is None:
            outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            floats = [o for o in outputs if isinstance(o, Tensor) and o.dtype.category > 1]
            return np.concatenate([_reals(o.detach().cpu().numpy()) for o in floats] or [np.zeros(0)])
        return _reals(_differentiable(outputs)[number].detach().cpu().numpy()).copy()

    rows = []
    with no_grad():
        positions = list(np.ndindex(tuple(x.shape)))
    for position, step in itertools.product(positions, (eps, eps * 1j) if x.is_complex() else (eps,)):
        kept = x._array[position].item()
        x._array[position] = kept + step
        after = evaluate()
        x._array[position] = kept - step
        before = evaluate()
        x._array[position] = kept
        rows.append((after - before) / (2 * eps))
    return np.stack(rows) if rows else np.zeros((0, evaluate().size))


def _random_like(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    shape = tuple(tensor.shape)
    values = generator.standard_normal(shape)
    return tensor._like_array(values + 1j * generator.standard_normal(shape) if tensor.is_complex() else values)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
) -> bool:
    """Compare the gradients of the gradients of `func` with central differences.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: as for `gradcheck`.
        grad_outputs: the gradients flowing into the outputs; seeded random ones when None.
        eps: the step of the finite differences.
        atol: absolute tolerance.
        rtol: relative tolerance.
        raise_exception: raise on a difference instead of returning False.
        nondet_tol: how far two runs of the same backward may differ.
        check_undefined_grad: as for `gradcheck`.
    """
    arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = _differentiable(func(*arguments))
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        seeds = [_random_like(o, generator).requires_grad_() for o in outputs]
    else:
        seeds = list(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else [grad_outputs]

    def gradients(*values: Any) -> tuple[Any, ...]:
        fresh, vectors = values[: len(arguments)], values[len(arguments) :]
        wanted = [x for x in fresh if isinstance(x, Tensor) and x.requires_grad]
        results = grad(_differentiable(func(*fresh)), wanted, vectors, create_graph=True, allow_unused=True)
        return tuple(g for g in results if g is not None)

    return gradcheck(
        gradients,
        (*arguments, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
    )
