"""Recording what runs and how long it takes: the events behind `nbtorch.profiler`, and PyTorch's older `profile`.

While nobody records, nothing here costs anything: a recorder puts timed versions in the place of the calls of `Node`
and of its subclasses, and of the engine's call of `backward`, and takes them away again at its end.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import engine
from .grad_mode import _ContextDecorator
from .graph import Node

_active: Recorder | None = None
_lock = threading.Lock()


class FunctionEvent:
    """One run of an operation: its name, when it began and ended (in microseconds), and what ran inside it."""

    def __init__(self, name: str, category: str, start: int, thread: int, parent: FunctionEvent | None) -> None:
        self.name = self.key = name
        self.category = category
        self.start, self.end = start, start  # nanoseconds
        self.thread = thread
        self.cpu_parent = parent
        self.cpu_children: list[FunctionEvent] = []
        self.input_shapes: list[list[int]] = []
        self.self_cpu_memory_usage = 0
        self.count = 1

    @property
    def cpu_time_total(self) -> float:
        """Microseconds from beginning to end."""
        return (self.end - self.start) / 1e3

    cpu_time = cpu_time_total

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds without those of the events inside."""
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def cpu_memory_usage(self) -> int:
        """Bytes of the results, with those of the events inside."""
        return self.self_cpu_memory_usage + sum(child.cpu_memory_usage for child in self.cpu_children)

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent name={self.name} cpu_time={format_time(self.cpu_time_total)} thread={self.thread}"
            f" input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>"
        )


class FunctionEventAvg:
    """All events of one name, together."""

    device_time_total = self_device_time_total = device_time = 0.0
    device_memory_usage = self_device_memory_usage = flops = 0

    def __init__(self, key: str, input_shapes: Any = "") -> None:
        self.key = key
        self.input_shapes = input_shapes
        self.count = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0

    def add(self, event: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        """Count one event, or those of another average, in."""
        inside = isinstance(event, FunctionEvent) and _is_inside_its_like(event)
        self.count += event.count
        self.self_cpu_time_total += event.self_cpu_time_total
        self.self_cpu_memory_usage += event.self_cpu_memory_usage
        if not inside:
            self.cpu_time_total += event.cpu_time_total
            self.cpu_memory_usage += event.cpu_memory_usage
        return self

    @property
    def cpu_time(self) -> float:
        """Microseconds of one event in the mean."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        """The mean time as text."""
        return format_time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """The time of all events as text."""
        return format_time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """The time of all events, without those inside, as text."""
        return format_time(self.self_cpu_time_total)

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str}"
            f" cpu_time={self.cpu_time_str} input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>"
        )


def _is_inside_its_like(event: FunctionEvent) -> bool:
    parent = event.cpu_parent
    while parent is not None:
        if parent.key == event.key:
            return True
        parent = parent.cpu_parent
    return False


def format_time(microseconds: float) -> str:
    """Return a time with a unit that suits it."""
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.3f}us"


def format_memory(count: int) -> str:
    """Return a number of bytes with a unit that suits it."""
    for size, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


class EventList(list):
    """Events, or averages of them."""

    def __init__(self, events: Iterable[Any] = (), profile_memory: bool = False) -> None:
        super().__init__(events)
        self._profile_memory = profile_memory

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all events together."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """Return averages of the events by their names, or by names and shapes of inputs."""
        found: dict[Any, FunctionEventAvg] = {}
        for event in self:
            shapes = event.input_shapes if group_by_input_shapes else ""
            key = event.key, str(shapes)
            if key not in found:
                found[key] = FunctionEventAvg(event.key, shapes)
            found[key].add(event)
        return EventList(found.values(), self._profile_memory)

    def total_average(self) -> FunctionEventAvg:
        """Return one average of all events."""
        total = FunctionEventAvg("Total")
        for event in self:
            total.add(event)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """Return a table to print.

        Args:
            sort_by: the attribute to sort by, largest first, such as `cpu_time_total`, `self_cpu_time_total`, `count`,
                `cpu_memory_usage`; None keeps the order.
            row_limit: how many rows to show; -1 for all.
            max_src_column_width: accepted for PyTorch's interface.
            max_name_column_width: longer names are cut.
            max_shapes_column_width: longer lists of shapes are cut.
            header: a line above the table.
            top_level_events_only: leave out what ran inside other events.
            time_unit: "s", "ms" or "us" for all times; by default what suits each.

        Raises:
            AttributeError: averages have no attribute `sort_by`.
        """
        rows: list[Any] = list(self)
        if top_level_events_only:
            rows = [row for row in rows if getattr(row, "cpu_parent", None) is None]
        if sort_by is not None:
            rows.sort(key=lambda row: getattr(row, sort_by.replace("cuda", "device")), reverse=True)
        shown = rows if row_limit < 0 else rows[:row_limit]
        units = {"s": 1e6, "ms": 1e3, "us": 1.0}
        time_text = format_time if time_unit is None else lambda t: f"{t / units[time_unit]:.3f}{time_unit}"
        total = self.self_cpu_time_total
        memory, shapes = self._profile_memory, any(row.input_shapes for row in shown)
        heads = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
        heads += ["CPU Mem", "Self CPU Mem"] * memory + ["# of Calls"] + ["Input Shapes"] * shapes
        lines = []
        for row in shown:
            cells = [
                _cut(row.key, max_name_column_width),
                f"{100 * row.self_cpu_time_total / total if total else 0:.2f}%",
                time_text(row.self_cpu_time_total),
                f"{100 * row.cpu_time_total / total if total else 0:.2f}%",
                time_text(row.cpu_time_total),
                time_text(row.cpu_time),
            ]
            if memory:
                cells += [format_memory(row.cpu_memory_usage), format_memory(row.self_cpu_memory_usage)]
            cells += [str(row.count)] + [_cut(str(row.input_shapes), max_shapes_column_width)] * shapes
            lines.append(cells)
        widths = [max([12, *[len(cells[i]) for cells in lines]]) for i in range(len(heads))]
        rule = "  ".join("-" * width for width in widths) + "  "
        body = ["  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in lines]
        title = "  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True))
        top = [] if header is None else ["=" * len(rule), header]
        bottom = [rule, f"Self CPU time total: {time_text(total)}", ""]
        return "\n".join([*top, rule, title + "  ", rule, *[line + "  " for line in body], *bottom])

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events for chrome://tracing or https://ui.perfetto.dev; compressed if the name ends in .gz."""
        import gzip
        import json

        process = os.getpid()
        events = [
            {
                "ph": "X",
                "cat": event.category,
                "name": event.name,
                "pid": process,
                "tid": event.thread,
                "ts": event.start / 1e3,
                "dur": event.cpu_time_total,
                "args": {"Input Dims": event.input_shapes} if event.input_shapes else {},
            }
            for event in self
        ]
        trace = {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": events}
        opened = gzip.open if str(path).endswith(".gz") else open
        with opened(path, "wt", encoding="utf-8") as file:
            json.dump(trace, file)


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


@functools.cache
def operation_name(node_name: str) -> str:
    """Return how PyTorch's profiler calls an operation: `aten::log_softmax` for LogSoftmaxBackward0."""
    name = re.sub(r"Backward\d*$", "", node_name)
    return "aten::" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\dD)(?=[A-Z])", "_", name).lower()


_VIEWS_OF_RESULTS = ("ViewBackward0", "UnsafeViewBackward0", "SqueezeBackward1")


def _telling_name(node: Node) -> str:
    """Return the name of a node, or of its class where PyTorch names the node after the view that it ends with."""
    return type(node)._name if node._name in _VIEWS_OF_RESULTS else node._name


class Recorder:
    """Collects events of all threads between `start` and `stop`; one at a time."""

    def __init__(self, record_shapes: bool = False, profile_memory: bool = False) -> None:
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.events: list[FunctionEvent] = []
        self._open = threading.local()  # the events that have begun in a thread, outermost first
        self._replaced: list[tuple[type, Any]] = []

    def start(self) -> None:
        """Begin to record.

        Raises:
            RuntimeError: another recorder is at work.
        """
        global _active
        with _lock:
            if _active is not None:
                raise RuntimeError("Profiler is already enabled on this thread")
            _active = self
        for cls in [Node, *_subclasses(Node)]:
            if "__call__" in cls.__dict__:
                original = cls.__dict__["__call__"]
                self._replaced.append((cls, original))
                cls.__call__ = self._timed(original)  # type: ignore[method-assign]
        engine.observe_backward = self._backward

    def stop(self) -> None:
        """End recording."""
        global _active
        engine.observe_backward = None
        for cls, original in self._replaced:
            cls.__call__ = original  # type: ignore[method-assign]
        self._replaced.clear()
        _active = None
        self.events.sort(key=lambda event: event.start)

    def begin(self, name: str, category: str) -> FunctionEvent:
        """Note that something begins in this thread."""
        stack = self._stack()
        parent = stack[-1] if stack else None
        event = FunctionEvent(name, category, time.perf_counter_ns(), threading.get_native_id(), parent)
        stack.append(event)
        return event

    def finish(self, event: FunctionEvent) -> None:
        """Note that it ended."""
        event.end = time.perf_counter_ns()
        stack = self._stack()
        while stack and stack.pop() is not event:
            pass
        if event.cpu_parent is not None:
            event.cpu_parent.cpu_children.append(event)
        self.events.append(event)

    def _stack(self) -> list[FunctionEvent]:
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        return self._open.stack

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(node: Node, *inputs: Any) -> Any:
            stack = self._stack()
            if stack and getattr(stack[-1], "node", None) is node:  # the call of a base class, from a subclass's
                return call(node, *inputs)
            event = self.begin(operation_name(_telling_name(node)), "cpu_op")
            event.node = node  # type: ignore[attr-defined]
            if self.record_shapes:
                event.input_shapes = [list(x.shape) for x in inputs]
            try:
                outputs = call(node, *inputs)
            finally:
                del event.node  # type: ignore[attr-defined]
                self.finish(event)
            if self.profile_memory:
                event.self_cpu_memory_usage = _bytes_of(outputs)
            return outputs

        return timed

    def _backward(self, node: Node, grads: Sequence[Any]) -> Any:
        event = self.begin(node._name, "cpu_op")
        try:
            return node.backward(*grads)
        finally:
            self.finish(event)


def _subclasses(cls: type) -> list[type]:
    found: list[type] = []
    child: type
    for child in cls.__subclasses__():
        found += [child, *_subclasses(child)]
    return found


def _bytes_of(outputs: Any) -> int:
    """Return the bytes of results; views take none."""
    tensors = outputs if type(outputs) is tuple else (outputs,)
    return sum(tensor._array.nbytes for tensor in tensors if tensor._base is None)


class record_function(_ContextDecorator):
    """Context manager and decorator: what runs inside appears under a name in a profile.

    Args:
        name: how to call it.
        args: accepted for PyTorch's interface.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._event: FunctionEvent | None = None

    def _again(self) -> record_function:
        return record_function(self.name, self.args)

    def __enter__(self) -> record_function:  # type: ignore[override]
        self._recorder = _active
        if self._recorder is not None:
            self._event = self._recorder.begin(self.name, "user_annotation")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._event is not None and self._recorder is not None:
            self._recorder.finish(self._event)
            self._event = None


class profile:
    """PyTorch's older profiler: a context whose events are there at its end. `nbtorch.profiler.profile` can do more.

    Args:
        enabled: whether to record.
        record_shapes: keep the shapes of inputs.
        profile_memory: count the bytes of results.
        options: PyTorch's other options, accepted without effect.
    """

    def __init__(
        self, enabled: bool = True, *, record_shapes: bool = False, profile_memory: bool = False, **options: Any
    ) -> None:
        self.enabled = enabled
        self._recorder = Recorder(record_shapes, profile_memory)
        self.function_events: EventList | None = None

    def __enter__(self) -> profile:
        if self.enabled:
            self._recorder.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.enabled:
            self._recorder.stop()
            self.function_events = EventList(self._recorder.events, self._recorder.profile_memory)

    def _finished(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Return averages of the events by their names."""
        return self._finished().key_averages(group_by_input_shape)

    def table(self, sort_by: str | None = None, row_limit: int = 100, **options: Any) -> str:
        """Return the table of all events."""
        return self._finished().table(sort_by, row_limit, **options)

    def total_average(self) -> FunctionEventAvg:
        """Return one average of all events."""
        return self._finished().total_average()

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for chrome://tracing."""
        self._finished().export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all events together."""
        return self._finished().self_cpu_time_total
