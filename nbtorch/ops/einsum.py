"""Einstein summation: any contraction of any number of tensors, as matrix products."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor
from .matmul import bmm
from .operands import require_same_device, require_tensor
from .strided import diagonal

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_Label = int  # letters by their place in `_LETTERS`; dimensions under an ellipsis by negative numbers


def einsum(*args: Any) -> Tensor:
    """Return sums of products of tensors, as a formula says.

    Args:
        args: a formula such as `"bij,bjk->bik"` and the tensors; or tensors and lists of labels in turn, with a list
            for the result at the end if wanted. A label that occurs twice in a tensor takes its diagonal; `...`
            stands for dimensions that broadcast. Without `->`, the result has the labels that occur once, in
            alphabetical order.

    >>> import nbtorch
    >>> nbtorch.einsum("ij,j->i", nbtorch.ones(2, 3), nbtorch.ones(3))
    tensor([3., 3.])
    """
    formula, tensors = _formula(args)
    for tensor in tensors:
        require_tensor("einsum", "operands", tensor)
    require_same_device("einsum", *tensors)
    inputs, output = _labels(formula, tensors)
    operands = [_simplified(tensor, labels) for tensor, labels in zip(tensors, inputs, strict=True)]
    _require_matching(operands)
    return _contracted(operands, output)


def _formula(args: tuple[Any, ...]) -> tuple[str, list[Tensor]]:
    """Bring the two forms of arguments to one: a formula and tensors."""
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its"
            " subscripts list"
        )
    if isinstance(args[0], str):
        given = args[1:]
        tensors = list(given[0]) if len(given) == 1 and isinstance(given[0], (list, tuple)) else list(given)
        return args[0], tensors
    tensors = list(args[: len(args) - len(args) % 2 : 2])
    formula = ",".join(_spelled(labels) for labels in args[1::2])
    return (f"{formula}->{_spelled(args[-1])}" if len(args) % 2 else formula), tensors


def _spelled(labels: Any) -> str:
    """Return a list of label numbers, in [0, 52), as a term of a formula."""
    term = ""
    for label in labels:
        if label is Ellipsis:
            term += "..."
        elif isinstance(label, int) and 0 <= label < len(_LETTERS):
            term += _LETTERS[label]
        else:
            raise ValueError(
                f"einsum(): subscripts must be Ellipsis or integers in [0, {len(_LETTERS)}), got {label!r}"
            )
    return term


def _parsed(term: str, what: str) -> list[Any]:
    """Return a term as a list of letters, with Ellipsis for its dots."""
    labels: list[Any] = []
    rest = term.replace(" ", "")
    while rest:
        if rest.startswith("..."):
            if Ellipsis in labels:
                raise RuntimeError(f"einsum(): found '.' for {what} for which an ellipsis was already found")
            labels.append(Ellipsis)
            rest = rest[3:]
        elif rest[0] in _LETTERS:
            labels.append(_LETTERS.index(rest[0]))
            rest = rest[1:]
        elif rest[0] == ".":
            raise RuntimeError(f"einsum(): found '.' for {what} that is not part of any ellipsis")
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at {what}: {rest[0]!r}, subscripts must be in [a-zA-Z]"
            )
    return labels


def _labels(formula: str, tensors: list[Tensor]) -> tuple[list[list[_Label]], list[_Label]]:
    """Return the label of every dimension of the tensors and of the result."""
    left, arrow, right = formula.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        more = "more" if len(tensors) > len(terms) else "fewer"
        raise RuntimeError(
            f"einsum(): {more} operands were provided than specified in the equation: {len(tensors)} for"
            f" {len(terms)} terms"
        )
    inputs, widest = [], 0
    for position, (term, tensor) in enumerate(zip(terms, tensors, strict=True)):
        labels = _parsed(term, f"operand {position}")
        hidden = tensor.ndim - (len(labels) - (Ellipsis in labels))
        if hidden < 0 or (hidden > 0 and Ellipsis not in labels):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(labels) - (Ellipsis in labels)})"
                f"{' is more than' if hidden < 0 else ' does not match'} the number of dimensions ({tensor.ndim}) for"
                f" operand {position}" + ("" if hidden < 0 else " and no ellipsis was given")
            )
        if Ellipsis in labels:
            at = labels.index(Ellipsis)
            labels[at : at + 1] = range(-hidden, 0)
            widest = max(widest, hidden)
        inputs.append(labels)
    flat = [label for labels in inputs for label in labels]
    if not arrow:
        once = sorted({label for label in flat if label >= 0 and flat.count(label) == 1})
        return inputs, [*range(-widest, 0), *once]
    output = _parsed(right, "the output")
    if Ellipsis in output:
        at = output.index(Ellipsis)
        output[at : at + 1] = range(-widest, 0)
    for label in output:
        if label >= 0 and output.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {_LETTERS[label]} appears more than once in the output")
        if label >= 0 and label not in flat:
            raise RuntimeError(
                f"einsum(): output subscript {_LETTERS[label]} does not appear in the equation for any input operand"
            )
    return inputs, output


def _simplified(tensor: Tensor, labels: list[_Label]) -> tuple[Tensor, list[_Label]]:
    """Take diagonals of dimensions that share a label, so that every label occurs once."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if tensor.shape[first] != tensor.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {_LETTERS[label]} is repeated for operand but the sizes don't match,"
                    f" {tensor.shape[second]} != {tensor.shape[first]}"
                )
            tensor = diagonal(tensor, 0, first, second)
            labels = [x for d, x in enumerate(labels) if d not in (first, second)] + [label]
    return tensor, labels


_Operand = tuple[Tensor, list[_Label]]


def _require_matching(operands: list[_Operand]) -> None:
    """Refuse labels that stand for different extents; 1 broadcasts."""
    extents: dict[_Label, int] = {}
    for position, (tensor, labels) in enumerate(operands):
        for label, extent in zip(labels, tensor._array.shape, strict=True):
            known = extents.setdefault(label, extent)
            if known == 1:
                extents[label] = extent
            elif extent not in (1, known):
                name = _LETTERS[label] if label >= 0 else "..."
                raise RuntimeError(
                    f"einsum(): operands do not broadcast with remapped shapes: subscript {name} has size {extent} for"
                    f" operand {position} which does not broadcast with previously seen size {known}"
                )


def _contracted(operands: list[_Operand], output: list[_Label]) -> Tensor:
    """Contract pairs until one operand is left, each time the pair whose product is smallest."""
    while len(operands) > 1:
        pairs = [(i, j) for j in range(len(operands)) for i in range(j)]
        i, j = min(pairs, key=lambda pair: _cost(operands, output, pair)) if len(operands) > 2 else (0, 1)
        rest = [operand for k, operand in enumerate(operands) if k not in (i, j)]
        kept = set(output).union(*(labels for _, labels in rest))
        operands = [*rest, _product(operands[i], operands[j], kept)]
    tensor, labels = _summed(*operands[0], set(output))
    result = tensor.permute([labels.index(label) for label in output if label in labels])
    for place, label in enumerate(output):
        if label not in labels:
            result = result.unsqueeze(place)
    return result


def _cost(operands: list[_Operand], output: list[_Label], pair: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a pair's product, less what it takes away, and the work to compute it."""
    extents: dict[_Label, int] = {}
    for k in pair:
        tensor, labels = operands[k]
        for label, extent in zip(labels, tensor._array.shape, strict=True):
            extents[label] = max(extents.get(label, 1), extent)
    others = [labels for k, (_, labels) in enumerate(operands) if k not in pair]
    kept = set(output).union(*others)
    size = math.prod(n for label, n in extents.items() if label in kept)
    return size - sum(operands[k][0].numel() for k in pair), math.prod(extents.values())


def _summed(tensor: Tensor, labels: list[_Label], kept: set[_Label]) -> _Operand:
    """Sum over the dimensions whose labels nothing else needs."""
    dims = [d for d, label in enumerate(labels) if label not in kept]
    return (tensor.sum(dims), [label for label in labels if label in kept]) if dims else (tensor, labels)


def _product(first: _Operand, second: _Operand, kept: set[_Label]) -> _Operand:
    """Multiply two operands as stacks of matrices: shared labels that are kept stack, others are summed over."""
    a, a_labels = _without_ones(*first, second)
    b, b_labels = _without_ones(*second, first)
    a, a_labels = _summed(a, a_labels, kept | set(b_labels))
    b, b_labels = _summed(b, b_labels, kept | set(a_labels))
    shared = [label for label in a_labels if label in b_labels]
    stacked, inner = [x for x in shared if x in kept], [x for x in shared if x not in kept]
    rows, columns = [x for x in a_labels if x not in shared], [x for x in b_labels if x not in shared]
    extents = dict(zip(a_labels, a._array.shape, strict=True)) | dict(zip(b_labels, b._array.shape, strict=True))

    def count(labels: list[_Label]) -> int:
        return math.prod(extents[label] for label in labels)

    def arranged(tensor: Tensor, own: list[_Label], order: list[_Label], shape: tuple[int, ...]) -> Tensor:
        return tensor.permute([own.index(label) for label in order]).reshape(shape)

    labels = [*stacked, *rows, *columns]
    shape = [extents[label] for label in labels]
    if not inner:  # nothing to sum over: an element-by-element product
        left = arranged(a, a_labels, [*stacked, *rows], (count(stacked), count(rows), 1))
        right = arranged(b, b_labels, [*stacked, *columns], (count(stacked), 1, count(columns)))
        return (left * right).reshape(shape), labels
    left = arranged(a, a_labels, [*stacked, *rows, *inner], (count(stacked), count(rows), count(inner)))
    right = arranged(b, b_labels, [*stacked, *inner, *columns], (count(stacked), count(inner), count(columns)))
    return bmm(left, right).reshape(shape), labels


def _without_ones(tensor: Tensor, labels: list[_Label], other: _Operand) -> _Operand:
    """Drop dimensions of extent 1 that the other operand has in full: multiplication broadcasts them."""
    theirs = dict(zip(other[1], other[0]._array.shape, strict=True))
    dims = [d for d, label in enumerate(labels) if tensor._array.shape[d] == 1 and theirs.get(label, 1) != 1]
    if not dims:
        return tensor, labels
    return tensor.squeeze(dims), [label for d, label in enumerate(labels) if d not in dims]
