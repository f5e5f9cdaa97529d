"""Products with Jacobians and Hessians of functions, and these matrices themselves.

Everything here is reverse accumulation. A Jacobian-vector product differentiates the vector-Jacobian product, which is
linear in its vector, once more with respect to that vector (the double-backward trick), so functions must be
differentiable twice for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from .engine import grad
from .grad_mode import enable_grad, set_grad_enabled, state

Tensors = tuple[Tensor, ...]

_FORWARD, _REVERSE = "forward-mode", "reverse-mode"


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the value of a function and the product of a vector with its Jacobian.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of tensors.
        v: the vector, of the shapes of the outputs; may be None where there is one output of one element.
        create_graph: make the results differentiable.
        strict: raise where an output does not depend on an input, instead of giving zeros.

    Returns:
        The outputs, and the product in the structure of the inputs.

    Raises:
        TypeError: inputs, outputs or v are no tensors.
        RuntimeError: v does not fit the outputs, or strict found an independent input.
    """
    with enable_grad():
        several_inputs, arguments = _arguments(inputs, "vjp", create_graph)
        several_outputs, outputs = _call(func, arguments, "vjp", strict)
        if v is None:
            _require_one_element(outputs, "user-provided function returns a single Tensor with a single element.")
            vector = None
        else:
            vector = _vector(v, outputs, several_outputs, "vjp", create_graph)
    with set_grad_enabled(create_graph or state.enabled):
        products = _gradients(outputs, arguments, vector, create_graph)
        products = _without_gaps(products, arguments, strict, create_graph, "The output of the user-provided function")
    return (
        _packed(_finished(outputs, create_graph), several_outputs),
        _packed(_finished(products, create_graph), several_inputs),
    )


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the value of a function and the product of its Jacobian with a vector.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of tensors.
        v: the vector, of the shapes of the inputs; may be None where there is one input of one element.
        create_graph: make the results differentiable.
        strict: raise where an output does not depend on an input, instead of giving zeros.

    Returns:
        The outputs, and the product in the structure of the outputs.

    Raises:
        TypeError: inputs, outputs or v are no tensors.
        RuntimeError: v does not fit the inputs, or strict found an independent output.
    """
    with enable_grad():
        several_inputs, arguments = _arguments(inputs, "jvp", create_graph)
        vector = _vector_like_inputs(v, arguments, several_inputs, "jvp", create_graph)
        several_outputs, outputs = _call(func, arguments, "jvp", strict)
        seeds = tuple(_differentiable_zeros(output) for output in outputs)
        pulled = _gradients(outputs, arguments, seeds, True)
        if strict:
            _require_dependence(pulled)
            for i, gradient in enumerate(pulled):
                if not gradient.requires_grad:
                    raise RuntimeError(
                        f"The gradient with respect to input {i} is independent of the inputs of the user-provided"
                        " function. This is not allowed in strict mode."
                    )
    with set_grad_enabled(create_graph or state.enabled):
        products = _gradients(pulled, seeds, vector, create_graph)
        products = _without_gaps(products, outputs, strict, create_graph, "The gradient with respect to the input")
    return (
        _packed(_finished(outputs, create_graph), several_outputs),
        _packed(_finished(products, create_graph), several_outputs),
    )


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Return the Jacobian of a function: for each output and input all partial derivatives.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of tensors.
        create_graph: make the Jacobian differentiable; not with the forward strategy.
        strict: raise where an output does not depend on an input, instead of giving zeros.
        vectorize: accepted for PyTorch's signature; the rows are computed one after the other in any case.
        strategy: "reverse-mode" computes the Jacobian by rows, "forward-mode" by columns.

    Returns:
        A tensor of shape `output.shape + input.shape`. Where there are several inputs, a tuple of such tensors; where
        there are several outputs, a tuple of these, one for each output.

    Raises:
        TypeError: inputs or outputs are no tensors.
        RuntimeError: strict found an independent input, or is combined with what PyTorch does not combine it with.
        AssertionError: an unknown strategy.
    """
    if strategy not in (_FORWARD, _REVERSE):
        raise AssertionError(
            f'Expected strategy to be either "forward-mode" or "reverse-mode", got {strategy!r}. Hint: If your function'
            ' has more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use'
            ' "reverse-mode".'
        )
    if strategy == _FORWARD:
        if create_graph:
            raise NotImplementedError('jacobian: `create_graph=True` and `strategy="forward-mode"` exclude each other')
        if strict:
            raise RuntimeError('jacobian: `strict=True` and `strategy="forward-mode"` exclude each other')
        several_inputs, arguments = _tensors(inputs, "inputs", "jacobian")
        if not vectorize:
            raise NotImplementedError('jacobian: `strategy="forward-mode"` needs `vectorize=True`')
        return _jacobian_by_columns(func, several_inputs, arguments)
    with enable_grad():
        several_inputs, arguments = _arguments(inputs, "jacobian", create_graph)
        several_outputs, outputs = _call(func, arguments, "jacobian", strict)
        if vectorize and strict:
            raise RuntimeError("jacobian: `strict=True` and `vectorize=True` exclude each other")
        rows = [_jacobian_by_rows(i, output, arguments, create_graph, strict) for i, output in enumerate(outputs)]
        matrices = (_together if vectorize else _separately)(rows, outputs, arguments)
    return _packed(
        tuple(_packed(_finished(matrix, create_graph), several_inputs) for matrix in matrices), several_outputs
    )


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Return the Hessian of a scalar function: the second derivatives for every pair of inputs.

    Args:
        func: takes the inputs, returns a tensor of one element.
        inputs: a tensor or a tuple of tensors.
        create_graph: make the Hessian differentiable; not with the forward strategy.
        strict: raise where the output or its Jacobian does not depend on an input, instead of giving zeros.
        vectorize: accepted for PyTorch's signature; the rows are computed one after the other in any case.
        outer_jacobian_strategy: how the Jacobian of the gradient is computed, see `jacobian`.

    Returns:
        A tensor of shape `input.shape + input.shape`, or a tuple of tuples of them where the inputs are a tuple.

    Raises:
        TypeError: inputs or outputs are no tensors.
        RuntimeError: the function does not return one element, or strict found an independent input.
        AssertionError: an unknown strategy.
    """
    several_inputs, _ = _tensors(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in (_FORWARD, _REVERSE):
        raise AssertionError(
            f'Expected strategy to be either "forward-mode" or "reverse-mode", got {outer_jacobian_strategy!r}.'
        )

    def scalar(*arguments: Tensor) -> Tensor:
        several, outputs = _call(func, arguments, "hessian", strict)
        return _one_element(outputs, several, "hessian").squeeze()

    def gradient(*arguments: Tensor) -> Tensors:
        rows = jacobian(scalar, arguments, create_graph=True)
        if strict:
            _require_differentiable_gradient(rows)
        return rows

    matrix = jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return matrix if several_inputs else matrix[0]


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the value of a scalar function and the product of a vector with its Hessian.

    Args:
        func: takes the inputs, returns a tensor of one element.
        inputs: a tensor or a tuple of tensors.
        v: the vector, of the shapes of the inputs; may be None where there is one input of one element.
        create_graph: make the results differentiable.
        strict: raise where the output or its gradient does not depend on an input, instead of giving zeros.

    Returns:
        The output, and the product in the structure of the inputs.

    Raises:
        TypeError: inputs, outputs or v are no tensors.
        RuntimeError: v does not fit the inputs, the function does not return one element, or strict found an
            independent input.
    """
    with enable_grad():
        several_inputs, arguments, vector, output, gradient = _scalar_gradient(
            func, inputs, v, "vhp", create_graph, strict
        )
    with set_grad_enabled(create_graph or state.enabled):
        products = _gradients(gradient, arguments, vector, create_graph)
        products = _without_gaps(
            products, arguments, strict, create_graph, "The jacobian of the user-provided function"
        )
    return _finished((output,), create_graph)[0], _packed(_finished(products, create_graph), several_inputs)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return the value of a scalar function and the product of its Hessian with a vector.

    The Hessian of a function with continuous second derivatives is symmetric, and `vhp` is then the quicker way.

    Args:
        func: takes the inputs, returns a tensor of one element.
        inputs: a tensor or a tuple of tensors.
        v: the vector, of the shapes of the inputs; may be None where there is one input of one element.
        create_graph: make the results differentiable.
        strict: raise where the output or its gradient does not depend on an input, instead of giving zeros.

    Returns:
        The output, and the product in the structure of the inputs.

    Raises:
        TypeError: inputs, outputs or v are no tensors.
        RuntimeError: v does not fit the inputs, the function does not return one element, or strict found an
            independent input.
    """
    with enable_grad():
        several_inputs, arguments, vector, output, gradient = _scalar_gradient(
            func, inputs, v, "hvp", create_graph, strict
        )
        seeds = tuple(_differentiable_zeros(argument) for argument in arguments)
        pulled = _gradients(gradient, arguments, seeds, True)
    with set_grad_enabled(create_graph or state.enabled):
        products = _gradients(pulled, seeds, vector, create_graph)
        products = _without_gaps(products, arguments, strict, create_graph, "The hessian of the user-provided function")
    return _finished((output,), create_graph)[0], _packed(_finished(products, create_graph), several_inputs)


def _tensors(value: Any, what: str, function: str) -> tuple[bool, Tensors]:
    """Return whether a value is a tuple, and its tensors as one."""
    several = isinstance(value, tuple)
    for position, element in enumerate(value if several else (value,)):
        if not isinstance(element, Tensor):
            place = f"value at index {position}" if several else f"given {what}"
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the {place} has type"
                f" {type(element)}."
            )
    return several, value if several else (value,)


def _packed(results: tuple[Any, ...], several: bool) -> Any:
    """Return a tuple where the user gave one, else what is in it."""
    return results if several else results[0]


def _attached(tensors: Tensors, create_graph: bool, requires_grad: bool) -> Tensors:
    """Return tensors of a graph of our own, connected to the user's where the results are to be."""
    return tuple(
        tensor.view_as(tensor)
        if create_graph and tensor.requires_grad
        else tensor.detach().requires_grad_(requires_grad)
        for tensor in tensors
    )


def _arguments(inputs: Any, function: str, create_graph: bool) -> tuple[bool, Tensors]:
    several, tensors = _tensors(inputs, "inputs", function)
    return several, _attached(tensors, create_graph, True)


def _call(func: Callable[..., Any], arguments: Tensors, function: str, strict: bool) -> tuple[bool, Tensors]:
    """Call the user's function and check what it returns."""
    several, outputs = _tensors(func(*arguments), "outputs of the user-provided function", function)
    for i, output in enumerate(outputs):
        if strict and not output.requires_grad:
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in"
                " a differentiable manner from the input when running in strict mode."
            )
    return several, outputs


def _vector(v: Any, like: Tensors, several: bool, function: str, create_graph: bool) -> Tensors:
    """Check the vector of a product against the tensors whose shapes it must have."""
    _, given = _tensors(v, "v", function)
    vector = _attached(given, create_graph, False)
    if len(vector) != len(like):
        if several:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vector)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for position, (element, other) in enumerate(zip(vector, like, strict=True)):
        if element.shape != other.shape:
            place = f"Entry {position} in " if several else ""
            raise RuntimeError(f"{place}v has invalid size: should be {other.shape} but got {element.shape}.")
    return vector


def _vector_like_inputs(v: Any, arguments: Tensors, several: bool, function: str, create_graph: bool) -> Tensors | None:
    if v is None:
        _require_one_element(arguments, "input to the user-provided function is a single Tensor with a single element.")
        return None
    return _vector(v, arguments, several, function, create_graph)


def _require_one_element(tensors: Tensors, condition: str) -> None:
    if len(tensors) != 1 or tensors[0].numel() != 1:
        raise RuntimeError(f"The vector v can only be None if the {condition}")


def _one_element(outputs: Tensors, several: bool, function: str) -> Tensor:
    """Return the output of a function that must be scalar."""
    if several:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {function} should contain a single element,"
            f" got shape {tuple(outputs[0].shape)}"
        )
    return outputs[0]


def _scalar_gradient(
    func: Callable[..., Any], inputs: Any, v: Any, function: str, create_graph: bool, strict: bool
) -> tuple[bool, Tensors, Tensors | None, Tensor, tuple[Any, ...]]:
    """Evaluate a scalar function and its differentiable gradient: the common first half of `vhp` and `hvp`."""
    several_inputs, arguments = _arguments(inputs, function, create_graph)
    vector = _vector_like_inputs(v, arguments, several_inputs, function, create_graph)
    several_outputs, outputs = _call(func, arguments, function, strict)
    output = _one_element(outputs, several_outputs, function)
    gradient = _gradients((output,), arguments, None, True)
    if strict:
        _require_dependence(gradient)
        _require_differentiable_gradient(gradient)
    return several_inputs, arguments, vector, output, gradient


def _differentiable_zeros(tensor: Tensor) -> Tensor:
    return tensor._filled_like(0).requires_grad_()


def _gradients(
    outputs: Sequence[Any],
    inputs: Tensors,
    vector: Tensors | None,
    create_graph: bool,
    retain_graph: bool | None = None,
) -> tuple[Any, ...]:
    """Differentiate those outputs that can be; None for an input that none of them depends on."""
    vectors: tuple[Any, ...] = (None,) * len(outputs) if vector is None else vector
    pairs = [(o, g) for o, g in zip(outputs, vectors, strict=True) if o is not None and o.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    return grad(
        [output for output, _ in pairs],
        inputs,
        [gradient for _, gradient in pairs],
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
    )


def _finished(tensors: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
    """Detach results that are not to be differentiated."""
    return tensors if create_graph else tuple(tensor.detach() for tensor in tensors)


def _without_gaps(
    products: tuple[Any, ...], like: Tensors, strict: bool, create_graph: bool, what: str
) -> tuple[Any, ...]:
    """Put zeros in place of what does not depend on an input; in strict mode raise, naming `what` is independent."""
    for i, product in enumerate(products):
        if strict and product is None:
            raise RuntimeError(f"{what} is independent of input {i}. This is not allowed in strict mode.")
        if strict and create_graph and not product.requires_grad:
            raise RuntimeError(
                f"{what} has a derivative that is independent of input {i}."
                " This is not allowed in strict mode when create_graph=True."
            )
    return tuple(
        other._filled_like(0) if product is None else product for product, other in zip(products, like, strict=True)
    )


def _require_dependence(gradients: Sequence[Any]) -> None:
    for i, gradient in enumerate(gradients):
        if gradient is None:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {i}."
                " This is not allowed in strict mode."
            )


def _require_differentiable_gradient(gradients: Sequence[Tensor]) -> None:
    for i, gradient in enumerate(gradients):
        if not gradient.requires_grad:
            raise RuntimeError(
                "While computing the hessian, found that the jacobian of the user-provided function with respect to"
                f" input {i} is independent of the input. This is not allowed in strict mode. You should ensure that"
                " your function is twice differentiable and that the jacobian depends on the inputs (this would be"
                " violated by a linear function for example)."
            )


Rows = list[list[Tensor]]  # for each input the gradients of the elements of one output


def _jacobian_by_rows(i: int, output: Tensor, arguments: Tensors, create_graph: bool, strict: bool) -> Rows:
    """Return the gradients of all elements of output `i` with respect to every input."""
    rows: Rows = [[] for _ in arguments]
    for element in output.reshape(-1):
        gradients = _gradients((element,), arguments, None, create_graph, retain_graph=True)
        for j, (row, argument, gradient) in enumerate(zip(rows, arguments, gradients, strict=True)):
            if strict and gradient is None:
                raise RuntimeError(
                    f"Output {i} of the user-provided function is independent of input {j}."
                    " This is not allowed in strict mode."
                )
            if strict and create_graph and not gradient.requires_grad:
                raise RuntimeError(
                    f"The jacobian of the user-provided function is independent of input {j}. This is not allowed in"
                    " strict mode when create_graph=True."
                )
            row.append(argument._filled_like(0) if gradient is None else gradient)
    return rows


def _separately(rows: list[Rows], outputs: Tensors, arguments: Tensors) -> list[Tensors]:
    """Stack the gradients of each output."""
    return [
        tuple(
            output._stack(row).view(output.shape + argument.shape)
            for row, argument in zip(per_input, arguments, strict=True)
        )
        for per_input, output in zip(rows, outputs, strict=True)
    ]


def _together(rows: list[Rows], outputs: Tensors, arguments: Tensors) -> list[Tensors]:
    """Stack the gradients of all outputs and split the result: an output without elements is allowed."""
    counts = [output.numel() for output in outputs]
    columns = []
    for j, argument in enumerate(arguments):
        stacked = [gradient for per_input in rows for gradient in per_input[j]]
        whole = argument._stack(stacked) if stacked else argument.new_zeros((0, *argument.shape))
        columns.append(whole.split(counts))
    return [
        tuple(
            column[i].view(output.shape + argument.shape) for column, argument in zip(columns, arguments, strict=True)
        )
        for i, output in enumerate(outputs)
    ]


def _jacobian_by_columns(func: Callable[..., Any], several_inputs: bool, tensors: Tensors) -> Any:
    """Return the Jacobian, one Jacobian-vector product for each element of the inputs."""
    for tensor in tensors:
        if not tensor.dtype.is_floating_point:
            raise ValueError(f"jacobian: inputs must be floating point or complex, but got: {tensor.dtype}")
    create_graph = state.enabled and any(tensor.requires_grad for tensor in tensors)
    with enable_grad():
        arguments = _attached(tensors, create_graph, True)
        several_outputs, outputs = _call(func, arguments, "jacobian", False)
        seeds = tuple(_differentiable_zeros(output) for output in outputs)
        pulled = _gradients(outputs, arguments, seeds, True)
        matrices = [
            tuple(
                _pushed(gradient, argument, seed, create_graph)
                for gradient, argument in zip(pulled, arguments, strict=True)
            )
            for seed in seeds
        ]
    return _packed(
        tuple(_packed(_finished(matrix, create_graph), several_inputs) for matrix in matrices), several_outputs
    )


def _pushed(gradient: Any, argument: Tensor, seed: Tensor, create_graph: bool) -> Tensor:
    """Return the derivative of one output by one input, given the gradient as a function of the output's seed."""
    shape = seed.shape + argument.shape
    if gradient is None or not gradient.requires_grad or not argument.numel():
        return argument.new_zeros(shape)
    columns = []
    for element in gradient.reshape(-1).unbind():
        (column,) = _gradients((element,), (seed,), None, create_graph, retain_graph=True)
        columns.append(seed._filled_like(0) if column is None else column)
    return seed._stack(columns, -1).reshape(shape)
