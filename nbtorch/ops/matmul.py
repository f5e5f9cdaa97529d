"""Matrix products."""

from __future__ import annotations

from typing import Any

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, array_module, kernels_for
from ..device import device as Device
from ..dtypes import FLOATING
from ..tensor import Tensor, method
from .arithmetic import Add, mul, unbroadcast
from .operands import broadcast_shape, operands, require_number, require_same_device, require_tensor


def product(a: Any, b: Any, where: Device) -> Any:
    """Return the product of two arrays of matrices that broadcast."""
    if a.dtype.kind not in FLOATING:
        return array_module(where).matmul(a, b)
    if b.ndim == 2 and a.ndim > 2:
        return product(a.reshape(-1, a.shape[-1]), b, where).reshape(*a.shape[:-1], b.shape[-1])
    stack = broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
    if stack:
        a, b = (array_module(where).broadcast_to(m, (*stack, *m.shape[-2:])) for m in (a, b))
    output = allocate((*stack, a.shape[-2], b.shape[-1]), a.dtype, where)
    kernels_for(where, "gemm").matmul(a, b, output)
    return output


class MatMul(Node):
    """Products of matrices, or of stacks of them that broadcast."""

    name = "MmBackward0"
    saves_inputs = (0, 1)
    saved_for = (1, 0)
    fresh_gradients = True
    in_float32 = True
    half_family = "gemm"
    holomorphic = True

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        return product(a, b, self.where)

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        return (
            unbroadcast(type(self)()(grad, b.mT), self.shapes[0]) if to_a else None,
            unbroadcast(type(self)()(a.mT, grad), self.shapes[1]) if to_b else None,
        )


class Bmm(MatMul):
    """Products of stacks of matrices."""

    name = "BmmBackward0"


class Dot(Node):
    """The inner product of two vectors."""

    saves_inputs = (0, 1)
    saved_for = (1, 0)
    in_float32 = True
    holomorphic = True

    def forward(self, a: Any, b: Any) -> Any:
        return array_module(self.where).dot(a, b)

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        return grad * b if to_a else None, grad * a if to_b else None


class Mv(Node):
    """The product of a matrix and a vector."""

    saves_inputs = (0, 1)
    saved_for = (1, 0)
    in_float32 = True
    holomorphic = True

    def forward(self, a: Any, b: Any) -> Any:
        return array_module(self.where).matmul(a, b)

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        return grad.unsqueeze(-1) * b if to_a else None, Mv()(a.mT, grad) if to_b else None


def _check(operation: str, a: Any, b: Any) -> None:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a._device is b._device:
        dtype = a._array.dtype
        if dtype is b._array.dtype and dtype.kind == "f":
            return
    require_tensor(operation, "input", a)
    require_tensor(operation, "other", b)
    require_same_device(operation, a, b)
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {a.dtype} != {b.dtype}")
    if a._array.size:
        require_number(operation, a)


def _check_inner(operation: str, a: Tensor, b: Tensor) -> None:
    rows, inner = a.shape[-2:]
    if inner != b.shape[-2]:
        raise RuntimeError(
            f"{operation}: mat1 and mat2 shapes cannot be multiplied ({rows}x{inner} and {b.shape[-2]}x{b.shape[-1]})"
        )


@method
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices, (n, m) and (m, p)."""
    _check("mm", input, mat2)
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(f"mm: expected two matrices, got {input.ndim}-d and {mat2.ndim}-d tensors")
    _check_inner("mm", input, mat2)
    return MatMul()(input, mat2)


@method
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two stacks of matrices, (b, n, m) and (b, m, p)."""
    _check("bmm", input, mat2)
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError(
            f"batch1 must be a 3D tensor: bmm expected two 3-d tensors, got {input.ndim}-d and {mat2.ndim}-d"
        )
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            f"bmm: Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, {input.shape[2]}]"
            f" but got: [{mat2.shape[0]}, {mat2.shape[1]}]."
        )
    return Bmm()(input, mat2)


@method
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    _check("dot", input, tensor)
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input.shape != tensor.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{input.shape[0]}] and src [{tensor.shape[0]}] to have the same"
            " number of elements"
        )
    return Dot()(input, tensor)


@method
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix and a vector."""
    _check("mv", input, vec)
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"mv: expected a matrix and a vector, got {input.ndim}-d and {vec.ndim}-d tensors")
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat ({input.shape[0]}x{input.shape[1]}),"
            f" vec ({vec.shape[0]})"
        )
    return Mv()(input, vec)


@method
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product, by the ranks: inner product, matrix and vector, matrices, or stacks that broadcast."""
    _check("matmul", input, other)
    if input.ndim == 0 or other.ndim == 0:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {input.ndim}D and {other.ndim}D"
        )
    if input.ndim == 1 and other.ndim == 1:
        return dot(input, other)
    if input.ndim == 2 and other.ndim == 1:
        return mv(input, other)
    if input.ndim == 2 and other.ndim == 2:
        return mm(input, other)
    if other.ndim == 1:
        return matmul(input, other.unsqueeze(-1)).squeeze(-1)
    if input.ndim == 1:
        return matmul(input.unsqueeze(0), other).squeeze(-2)
    _check_inner("matmul", input, other)
    node = Bmm()
    node.name = "UnsafeViewBackward0"
    return node(input, other)


@method
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the outer product of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D arguments, got {input.ndim}-D and {vec2.ndim}-D")
    return mul(input.unsqueeze(-1), vec2)


@method
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """Return `beta * input + alpha * (mat1 @ mat2)`."""
    product = mm(mat1, mat2)
    if broadcast_shape("addmm", input._array.shape, product._array.shape) != product._array.shape:
        raise RuntimeError(
            f"addmm: expected input of shape {tuple(input.shape)} to be expandable to the product's"
            f" {tuple(product.shape)}"
        )
    if product.dtype.category < 2:
        beta, alpha = int(beta), int(alpha)
    node = Add()
    node.name = "AddmmBackward0"
    a, b = operands("addmm", input if beta == 1 else mul(input, beta), product if alpha == 1 else mul(product, alpha))
    return node(a, b)


@method
def __matmul__(self: Tensor, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


@method
def __rmatmul__(self: Tensor, other: Any) -> Any:
    return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


class Linear(Node):
    """`input @ weight.T + bias`, input (..., in_features), weight (out_features, in_features)."""

    name = "AddmmBackward0"
    saves_inputs = (0, 1)
    saved_for = (1, 0)
    fresh_gradients = True
    in_float32 = True
    holomorphic = True

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        result = product(x.reshape(-1, x.shape[-1]), weight.T, self.where)
        if bias is not None:
            result += bias
        return result.reshape(*x.shape[:-1], weight.shape[0])

    def backward(self, grad: Tensor) -> Any:
        x, weight = self.saved_tensors
        to_x, to_weight, *to_bias = self.needs_input_grad
        if not state.enabled:
            return self._gradients(grad, x, weight)
        rows = grad.reshape(-1, grad._array.shape[-1])
        grads = [
            matmul(grad, weight) if to_x else None,
            MatMul()(rows.t(), x.reshape(-1, x._array.shape[-1])) if to_weight else None,
        ]
        return (*grads, *[rows.sum(0) if wanted else None for wanted in to_bias])

    def _gradients(self, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Any, ...]:
        """Return what `backward` does, on arrays: the way of every training step, where nothing is recorded."""
        to_x, to_weight, *to_bias = self.needs_input_grad
        wrap, above = grad._wrap_like, grad._array
        rows = above.reshape(-1, above.shape[-1])
        grads: list[Any] = [None, None]
        if to_x:
            grads[0] = wrap(product(rows, weight._array, self.where).reshape(*above.shape[:-1], weight._array.shape[1]))
        if to_weight:
            grads[1] = wrap(product(rows.T, x._array.reshape(-1, x._array.shape[-1]), self.where))
        return (*grads, *[wrap(rows.sum(0)) if wanted else None for wanted in to_bias])


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input @ weight.T + bias`; see `nn.functional.linear`."""
    _check("linear", input, weight)
    if input.ndim == 0:
        raise RuntimeError("both arguments to linear need to be at least 1D, but they are 0D and 2D")
    if weight.ndim != 2 and weight.ndim != 1:
        raise RuntimeError(f"linear: weight must have 1 or 2 dimensions, got shape {tuple(weight.shape)}")
    if weight.ndim == 1:
        result = matmul(input, weight)
        return result if bias is None else result + bias
    if input.shape[-1] != weight.shape[1]:
        rows = input.numel() // max(input.shape[-1], 1)
        raise RuntimeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and"
            f" {weight.shape[1]}x{weight.shape[0]}): weight {tuple(weight.shape)} expects {weight.shape[1]} features,"
            f" got an input of shape {tuple(input.shape)}"
        )
    if not input.is_floating_point():
        result = matmul(input, weight.t())
        return result if bias is None else result + bias
    node = Linear()
    if bias is None:
        node.name = "MmBackward0" if input.ndim == 2 else "UnsafeViewBackward0"
        return node(input, weight)
    _check("linear", input, bias)
    if bias.shape != (weight.shape[0],):
        return matmul(input, weight.t()) + bias
    if input.ndim > 2:
        node.name = "ViewBackward0"
    return node(input, weight, bias)
