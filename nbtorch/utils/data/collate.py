"""Making a batch of samples (`default_collate`), and tensors of arrays in one sample (`default_convert`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...creation import as_tensor, tensor
from ...ops.shape import stack
from ...tensor import Tensor

CollateMap = dict[type | tuple[type, ...], Callable[..., Any]]


def default_convert(data: Any) -> Any:
    """Return a sample with tensors in the place of its NumPy arrays and numbers.

    Dicts, lists and named tuples keep their types, tuples become lists, everything else passes unchanged.
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if _is_text(data) else as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        items = [default_convert(item) for item in data]
        return type(data)(*items) if hasattr(data, "_fields") else items
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence_like(data, [default_convert(item) for item in data])
    return data


def collate(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """Merge a list of samples of one structure into one of batches.

    Args:
        batch: the samples, at least one.
        collate_fn_map: functions `f(batch, *, collate_fn_map)` for types of elements; the first type, or tuple of
            types, that the first sample is an instance of counts, an exact match before all. Otherwise mappings,
            named tuples and sequences are taken apart.

    Raises:
        RuntimeError: sequences of different lengths.
        TypeError: samples that nothing is known to do with.
    """
    first = batch[0]
    function = _function_for(first, collate_fn_map or {})
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)

    def merged(samples: Any) -> Any:
        return collate(samples, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _mapping_like(first, {key: merged([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*[merged(samples) for samples in zip(*batch, strict=False)])
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) > 1:
            raise RuntimeError(f"each element in list of batch should be of equal size, got sizes {sorted(lengths)}")
        items = [merged(samples) for samples in zip(*batch, strict=True)]
        return items if isinstance(first, tuple) else _sequence_like(first, items)
    raise _refusal(type(first))


def _function_for(first: Any, functions: CollateMap) -> Callable[..., Any] | None:
    """Return the function of the first kind that a sample is an instance of, its very type before all."""
    if type(first) in functions:
        return functions[type(first)]
    return next((function for kind, function in functions.items() if isinstance(first, kind)), None)


def _refusal(kind: Any) -> TypeError:
    return TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}"
    )


def _is_text(data: Any) -> bool:
    return data.dtype.kind in "SUO"


def _mapping_like(original: Any, items: dict[Any, Any]) -> Any:
    """Return a mapping of the type of another with other items, or a dict if it cannot be made."""
    try:
        if isinstance(original, MutableMapping):
            clone = copy.copy(original)  # the type may have more to it than its items
            clone.update(items)
            return clone
        return type(original)(items)
    except TypeError:
        return items


def _sequence_like(original: Any, items: list[Any]) -> Any:
    """Return a sequence of the type of another with other items, or a list if it cannot be made."""
    try:
        if isinstance(original, MutableSequence):
            clone = copy.copy(original)
            for index, item in enumerate(items):
                clone[index] = item
            return clone
        return type(original)(items)
    except TypeError:
        return items


def collate_tensor_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Stack tensors along a new first dimension."""
    return stack(batch, 0)


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """Stack NumPy arrays into one tensor; arrays of text or objects raise TypeError."""
    if _is_text(batch[0]):
        raise _refusal(batch[0].dtype)
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Make a tensor of NumPy's numbers."""
    return as_tensor(np.asarray(batch))


def collate_float_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Make a float64 tensor of Python's floats."""
    return tensor(batch, dtype=dtypes.float64)


def collate_int_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Make a tensor of Python's ints or bools."""
    return tensor(batch)


def collate_str_fn(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """Leave text and bytes as they are."""
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
"""What `default_collate` does with elements of a type; more types may be added."""


def default_collate(batch: Any) -> Any:
    """Merge a list of samples into a batch: tensors, arrays and numbers become tensors with a first dimension more.

    Text stays as it is; dicts, named tuples and lists are merged item by item; tuples become lists.

    >>> from nbtorch.utils.data import default_collate
    >>> default_collate([("a", 1), ("b", 2)])
    [('a', 'b'), tensor([1, 2])]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
