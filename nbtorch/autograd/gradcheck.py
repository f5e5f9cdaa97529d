"""Gradients checked against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tensor import Tensor
from .engine import grad
from .function import FunctionNode
from .functional import jacobian
from .grad_mode import no_grad


class GradcheckError(RuntimeError):
    """A gradient differs from its finite difference, or a backward does not keep the rules."""


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
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of `func` with central differences.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a sequence of arguments; those tensors that require gradients, of type float64 as a rule,
            are checked.
        eps: the step of the finite differences.
        atol: absolute tolerance.
        rtol: relative tolerance.
        raise_exception: raise on a difference instead of returning False.
        nondet_tol: how far two runs of the same backward may differ.
        check_undefined_grad: whether outputs whose gradient is undefined must count as if it were zero.
        check_grad_dtypes: whether a gradient must have its input's type.
        check_batched_grad: whether gradients for a batch of vectors must equal those for each of them.
        check_batched_forward_grad: accepted for PyTorch's signature; needs `check_forward_ad`.
        check_forward_ad: whether to check Jacobian-vector products too, see `autograd.functional.jvp`.
        check_backward_ad: whether to check gradients.
        fast_mode: compare along one random direction instead of all entries of the Jacobian.
        masked: accepted for PyTorch's signature; there are no sparse tensors.

    Raises:
        GradcheckError: a gradient is wrong; the text shows both Jacobians.
        ValueError: no input requires a gradient.
        AssertionError: options that exclude each other.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    arguments = _as_tuple(inputs)
    _require_checkable(arguments)
    check = _Check(func, arguments, eps, atol, rtol, nondet_tol, check_grad_dtypes)
    try:
        if check_backward_ad:
            check.directions() if fast_mode else check.jacobians()
        if check_forward_ad:
            check.forward_jacobians()
        if check_backward_ad:
            if check_batched_grad:
                check.batches()
            check.zero_gradients()
            if check_undefined_grad:
                check.undefined_gradients()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def _differentiable(outputs: Any) -> list[Tensor]:
    return [o for o in _as_tuple(outputs) if isinstance(o, Tensor) and o.requires_grad]


def _require_checkable(arguments: tuple[Any, ...]) -> None:
    """Refuse inputs that cannot be checked, and warn of a type that is too coarse."""
    found = False
    for position, x in enumerate(arguments):
        if not isinstance(x, Tensor) or not x.requires_grad:
            continue
        found = True
        if x.dtype.itemsize < 8:
            warnings.warn(
                f"Input #{position} requires gradient and is not a double precision floating point or complex. This"
                " check will likely fail if all the inputs are not of double precision floating point or complex.",
                stacklevel=3,
            )
        if x.numel() and any(step == 0 and extent > 1 for step, extent in zip(x.stride(), x.shape, strict=True)):
            raise RuntimeError(
                f"The {position}th input has a dimension with stride 0. gradcheck only supports inputs that are"
                " non-overlapping to be able to compute the numerical gradients correctly. You should call .contiguous"
                " on the input before passing it to gradcheck."
            )
    if not found:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )


@dataclass
class _Check:
    """A function at a point, and the checks of its derivatives there."""

    func: Callable[..., Any]
    arguments: tuple[Any, ...]
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    check_grad_dtypes: bool

    def __post_init__(self) -> None:
        self.checked = [x for x in self.arguments if isinstance(x, Tensor) and x.requires_grad]
        self.outputs = _differentiable(self.func(*self.arguments))

    def jacobians(self) -> None:
        """Compare all entries of the Jacobians."""
        if not self.outputs:
            self._require_constant()
        for number, output in enumerate(self.outputs):
            units = np.eye(_real_count(output))
            analytic = self._repeated_products(output, units)
            for position, x in enumerate(self.checked):
                self._compare(analytic[position].T, self._numerical_jacobian(x, number), number, position)

    def directions(self) -> None:
        """Compare along a random direction of each input and output."""
        generator = np.random.default_rng(0)
        if not self.outputs:
            self._require_constant()
        for number, output in enumerate(self.outputs):
            v = _direction(generator, _real_count(output))
            products = self._repeated_products(output, v[None])
            for position, x in enumerate(self.checked):
                u = _direction(generator, _real_count(x))
                if not x.numel() or not output.numel():
                    continue
                analytic = np.array(products[position][0] @ u)
                numerical = np.array(self._difference(x, u, number) @ v)
                self._compare(analytic, numerical, number, position, self.atol * u.sum() * v.sum())

    def forward_jacobians(self) -> None:
        """Compare the Jacobians that Jacobian-vector products give."""
        places = [i for i, x in enumerate(self.arguments) if isinstance(x, Tensor) and x.requires_grad]

        def differentiable(*values: Tensor) -> tuple[Tensor, ...]:
            arguments = list(self.arguments)
            for place, value in zip(places, values, strict=True):
                arguments[place] = value
            return tuple(_differentiable(self.func(*arguments)))

        if not self.outputs:
            return
        matrices = jacobian(differentiable, tuple(self.checked), vectorize=True, strategy="forward-mode")
        for number, row in enumerate(matrices):
            for position, (x, matrix) in enumerate(zip(self.checked, row, strict=True)):
                analytic = _values(matrix).reshape(-1, x.numel()).T
                numerical = self._numerical_jacobian(x, number)
                self._compare(analytic, numerical, number, position, mode="computed with forward mode ")

    def batches(self) -> None:
        """Compare gradients for a batch of vectors with those for each."""
        generator = np.random.default_rng(0)
        for number, output in enumerate(self.outputs):
            reals = generator.standard_normal((2, _real_count(output)))
            vectors = output._like_array(np.stack([_values(_like(output, v)) for v in reals]))
            options: Any = {"retain_graph": True, "allow_unused": True}
            together = grad(output, self.checked, vectors, is_grads_batched=True, **options)
            singly = [grad(output, self.checked, vector, **options) for vector in vectors]
            for position, found in enumerate(together):
                if found is None:
                    continue
                expected = np.stack([_values(gradients[position]) for gradients in singly])  # type: ignore[arg-type]
                if not np.allclose(_values(found), expected):
                    raise GradcheckError(
                        f"For output {number} and input {position}:\n\ngradcheck or gradgradcheck failed while testing"
                        f" batched gradient computation.\n\nGot:\n{found}\n\nExpected:\n{expected}"
                    )

    def zero_gradients(self) -> None:
        """Check that no gradient comes of none, and the kind of the gradients."""
        zeros = [output._filled_like(0) for output in self.outputs]
        gradients = grad(self.outputs, self.checked, zeros, allow_unused=True, retain_graph=True)
        for x, gradient in zip(self.checked, gradients, strict=True):
            if gradient is None:
                continue
            if _values(gradient).any():
                raise GradcheckError("backward not multiplied by grad_output")
            if gradient.dtype is not x.dtype:
                raise GradcheckError("grad is incorrect type")
            if gradient.device != x.device:
                raise GradcheckError("grad is incorrect device")
            if gradient.shape != x.shape:
                raise GradcheckError("grad is incorrect size")

    def undefined_gradients(self) -> None:
        """Check that outputs without a gradient count as if it were zero.

        Backward never visits a node that no gradient reaches, so what remains to be checked is user-defined functions,
        which are asked directly, and each output left out while others have a gradient.
        """
        results: list[Any] = []
        try:
            for output in self.outputs:
                node = output.grad_fn
                if isinstance(node, FunctionNode):
                    with no_grad():
                        results += node.backward(*(None,) * node.output_count)
            for left_out in range(len(self.outputs) if len(self.outputs) > 1 else 0):
                others = [o for i, o in enumerate(_differentiable(self.func(*self.arguments))) if i != left_out]
                results += grad(others, self.checked, [o._filled_like(0) for o in others], allow_unused=True)
        except RuntimeError as error:
            raise GradcheckError(f"Expected backward function to handle undefined output grads: {error}") from error
        if any(gradient is not None and _values(gradient).any() for gradient in results):
            raise GradcheckError(
                "Expected all input grads to be undefined or zero when all output grads are undefined or zero."
            )

    def _compare(
        self,
        analytic: np.ndarray,
        numerical: np.ndarray,
        number: int,
        position: int,
        atol: float | None = None,
        mode: str = "",
    ) -> None:
        if not np.allclose(analytic, numerical, self.rtol, self.atol if atol is None else atol):
            raise GradcheckError(
                f"Jacobian {mode}mismatch for output {number} with respect to input {position},\n"
                f"numerical:{numerical}\nanalytical:{analytic}\n"
            )

    def _require_constant(self) -> None:
        """An output without a graph must not depend on the inputs."""
        for x in self.checked:
            if np.abs(self._numerical_jacobian(x, None)).max(initial=0) > 0:
                raise GradcheckError("Numerical gradient for function expected to be zero")

    def _repeated_products(self, output: Tensor, vectors: np.ndarray) -> list[np.ndarray]:
        """Return for each input the products of vectors with its Jacobian, after making sure that they repeat."""
        first, again = self._products(output, vectors), self._products(output, vectors)
        for a, b in zip(first, again, strict=True):
            if np.abs(a - b).max(initial=0) > self.nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times"
                    " gives different values, although analytical gradient matches numerical gradient. The tolerance"
                    f" for nondeterminism was {self.nondet_tol}."
                )
        return first

    def _products(self, output: Tensor, vectors: np.ndarray) -> list[np.ndarray]:
        """Return for each input the products of vectors with its Jacobian, one to a row."""
        rows = [np.zeros((len(vectors), _real_count(x))) for x in self.checked]
        for i, vector in enumerate(vectors):
            seed = _like(output, vector)
            gradients = grad(output, self.checked, seed, retain_graph=True, allow_unused=True)
            for row, gradient, x in zip(rows, gradients, self.checked, strict=True):
                if gradient is None:
                    continue
                if self.check_grad_dtypes and gradient.dtype is not x.dtype:
                    raise GradcheckError(f"Gradient has dtype mismatch: expected {x.dtype}, got {gradient.dtype}")
                if gradient.shape != x.shape:
                    raise GradcheckError(
                        f"Analytical gradient has incorrect size: expected {x.shape}, got {gradient.shape}"
                    )
                row[i] = _reals(gradient)
        return rows

    def _numerical_jacobian(self, x: Tensor, number: int | None) -> np.ndarray:
        """Return the matrix of derivatives, (input elements, output elements), of one output or (None) of all."""
        units = np.eye(_real_count(x))
        rows = [self._difference(x, unit, number) for unit in units]
        return np.stack(rows) if rows else np.zeros((0, self._evaluate(number).size))

    def _difference(self, x: Tensor, direction: np.ndarray, number: int | None) -> np.ndarray:
        """Return the central difference of an output along a direction of an input."""
        array, kept = x._array, x._array.copy()
        step = _like(x, self.eps * direction)._array
        try:
            array[...] = kept + step
            after = self._evaluate(number)
            array[...] = kept - step
            before = self._evaluate(number)
        finally:
            array[...] = kept
        return (after - before) / (2 * self.eps)

    def _evaluate(self, number: int | None) -> np.ndarray:
        """Return the values of one differentiable output, or of all floating-point ones when `number` is None."""
        fresh = [a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in self.arguments]
        outputs = self.func(*fresh)
        if number is not None:
            return _reals(_differentiable(outputs)[number])
        floats = [o for o in _as_tuple(outputs) if isinstance(o, Tensor) and o.dtype.category > 1]
        return np.concatenate([_reals(o) for o in floats] or [np.zeros(0)])


def _direction(generator: np.random.Generator, count: int) -> np.ndarray:
    """Return a random vector of positive entries and length 1."""
    vector = generator.random(count)
    return vector / np.linalg.norm(vector) if count else vector


def _values(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as an array of their own in double precision."""
    return np.array(tensor.detach().cpu().numpy(), np.complex128 if tensor.is_complex() else np.float64)


def _reals(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as one row of real numbers, a complex one as two."""
    return _values(tensor).ravel().view(np.float64)


def _real_count(tensor: Tensor) -> int:
    """Return how many real numbers a tensor holds."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def _like(tensor: Tensor, reals: np.ndarray) -> Tensor:
    """Return real numbers, a row as from `_reals`, as a tensor of another one's shape and type."""
    values = reals.view(np.complex128) if tensor.is_complex() else reals
    return tensor._like_array(values.reshape(tensor.shape))


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare the gradients of the gradients of `func` with central differences.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: as for `gradcheck`.
        grad_outputs: the gradients flowing into the outputs; seeded random ones when None.
        eps: the step of the finite differences.
        atol: absolute tolerance.
        rtol: relative tolerance.
        gen_non_contig_grad_outputs: whether the random gradients are not contiguous.
        raise_exception: raise on a difference instead of returning False.
        nondet_tol: how far two runs of the same backward may differ.
        check_undefined_grad: as for `gradcheck`.
        check_grad_dtypes: as for `gradcheck`.
        check_batched_grad: as for `gradcheck`.
        check_fwd_over_rev: `check_forward_ad` of `gradcheck`.
        check_rev_over_rev: `check_backward_ad` of `gradcheck`.
        fast_mode: as for `gradcheck`.
        masked: as for `gradcheck`.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    if check_undefined_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_undefined_grad=True requires check_rev_over_rev to be True")
    if check_batched_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_batched_grad=True requires check_rev_over_rev to be True")
    arguments = _as_tuple(inputs)
    if grad_outputs is None:
        seeds = [
            _random_seed(output, np.random.default_rng(number), gen_non_contig_grad_outputs)
            for number, output in enumerate(_differentiable(func(*arguments)))
        ]
    else:
        seeds = list(_as_tuple(grad_outputs))

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
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _random_seed(output: Tensor, generator: np.random.Generator, spread: bool) -> Tensor:
    """Return a random gradient for an output; `spread` leaves gaps in its memory."""
    values = _values(_like(output, generator.uniform(-1, 1, _real_count(output))))
    if not spread or not output.ndim:
        return output._like_array(values).requires_grad_()
    return output._like_array(np.repeat(values, 2, -1))[..., ::2].detach().requires_grad_()
