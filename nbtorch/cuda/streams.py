"""Streams and events: the order of work on a device, and marks in it. CuPy's, which kernels follow too."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from ..device import device as Device
from ..device import simulating
from .runtime import device as using
from .runtime import index_of, require


def _cupy_stream(pointer: int | None, priority: int) -> Any:
    """Return CuPy's stream at an address, or a new one that does not wait for the default stream."""
    import cupy

    if pointer is not None:
        return cupy.cuda.ExternalStream(pointer) if pointer else cupy.cuda.Stream.null
    return cupy.cuda.Stream(non_blocking=True, priority=priority)


class Stream:
    """A queue of work on a device: what is in one runs in order, what is in two may overlap.

    Args:
        device: the device; the current one by default.
        priority: lower numbers go first; 0 or -1.

    In the simulator all work is done at once, so that a stream is always idle.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, stream_ptr: int | None = None) -> None:
        require()
        self.device_index = index_of(device)
        self.device = Device("cuda", self.device_index)
        self.priority = priority
        self._stream = None
        if not simulating():
            with using(self.device_index):
                self._stream = _cupy_stream(stream_ptr, priority)

    @property
    def cuda_stream(self) -> int:
        """The stream's address, as other libraries take it."""
        return 0 if self._stream is None else self._stream.ptr

    def query(self) -> bool:
        """Return whether all work is done."""
        return True if self._stream is None else self._stream.done

    def synchronize(self) -> None:
        """Wait until all work is done."""
        if self._stream is not None:
            self._stream.synchronize()

    def record_event(self, event: Event | None = None) -> Event:
        """Mark the present end of the queue in an event, a new one by default, and return it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work in this stream wait for an event."""
        if self._stream is not None and event._event is not None:
            self._stream.wait_event(event._event)

    def wait_stream(self, stream: Stream) -> None:
        """Let later work in this stream wait for what is in another one now."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Stream) or self._stream is None:
            return self is other
        return (self.device_index, self.cuda_stream) == (other.device_index, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self.device_index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device=cuda:{self.device_index} cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self) -> Stream:
        _entered.append(StreamContext(self))
        _entered[-1].__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        _entered.pop().__exit__(*details)


class ExternalStream(Stream):
    """A stream that another library made, at its address."""

    def __init__(self, stream_ptr: int, device: Any = None) -> None:
        super().__init__(device, stream_ptr=stream_ptr)


class StreamContext:
    """Put the work of a `with` block into a stream, on the stream's device; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is None:
            return
        self._using = using(self.stream.device_index)
        self._using.__enter__()
        self._before = current_stream()
        set_stream(self.stream)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.stream is None:
            return
        set_stream(self._before)
        self._using.__exit__(kind, error, at)


def stream(stream: Stream | None) -> StreamContext:
    """Return a context in which work goes into `stream`; None changes nothing."""
    return StreamContext(stream)


_entered: list[StreamContext] = []
_current: dict[int, Stream] = {}
_default: dict[int, Stream] = {}


def default_stream(device: Any = None) -> Stream:
    """Return the stream that a device uses unless told otherwise."""
    require()
    index = index_of(device)
    if index not in _default:
        _default[index] = Stream(index, stream_ptr=0)
    return _default[index]


def current_stream(device: Any = None) -> Stream:
    """Return the stream that work on a device goes into now."""
    require()
    index = index_of(device)
    if simulating():
        return _current.get(index) or default_stream(index)
    import cupy

    with using(index):
        pointer = cupy.cuda.get_current_stream().ptr
    known = _current.get(index)
    if known is not None and known.cuda_stream == pointer:
        return known
    return Stream(index, stream_ptr=pointer) if pointer else default_stream(index)


def set_stream(stream: Stream | None) -> None:
    """Let work on the stream's device go into it from now on; None changes nothing. `with stream(...)` is safer."""
    if stream is None:
        return
    _current[stream.device_index] = stream
    if stream._stream is not None:
        with using(stream.device_index):
            stream._stream.use()


def synchronize(device: Any = None) -> None:
    """Wait until all work on a device is done."""
    cuda, index = require(), index_of(device)
    if cuda is not None:
        with using(index):
            cuda.deviceSynchronize()


class Event:
    """A mark in a stream's work, to wait for or to take times between.

    Args:
        enable_timing: whether `elapsed_time` is wanted.
        blocking: whether `synchronize` sleeps instead of asking again and again.
        interprocess: not supported, events stay in their process.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        require()
        if interprocess:
            raise RuntimeError("Event: interprocess=True is not supported, events stay in their process")
        self._timed = enable_timing
        self._event: Any = None
        self._moment: float | None = None
        if not simulating():
            import cupy

            self._event = cupy.cuda.Event(block=blocking, disable_timing=not enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Mark the present end of a stream's work, by default of the current stream's."""
        stream = current_stream() if stream is None else stream
        self._moment = time.perf_counter()
        if self._event is not None:
            self._event.record(stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work in a stream, by default the current one, wait for this event."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Return whether the work before the mark is done; True if nothing was marked."""
        return self._moment is None or self._event is None or self._event.done

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""
        if self._event is not None and self._moment is not None:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Return the milliseconds between this mark and a later one.

        Raises:
            ValueError: an event was made without `enable_timing`, or marks nothing yet.
        """
        if not (self._timed and end_event._timed):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._moment is None or end_event._moment is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if self._event is None:
            return (end_event._moment - self._moment) * 1e3
        import cupy

        return float(cupy.cuda.get_elapsed_time(self._event, end_event._event))

    @property
    def cuda_event(self) -> int:
        """The event's address, as other libraries take it."""
        return 0 if self._event is None else self._event.ptr

    def __repr__(self) -> str:
        return f"<torch.cuda.Event {self.cuda_event:#x}>"
