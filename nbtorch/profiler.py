"""What a program spends its time on: PyTorch's `torch.profiler`, for the operations of the graph.

>>> import nbtorch
>>> from nbtorch.profiler import profile, record_function
>>> with profile(profile_memory=True) as prof:
...     with record_function("product"):
...         y = nbtorch.ones(64, 64) @ nbtorch.ones(64, 64)
>>> print(prof.key_averages().table(sort_by="cpu_time_total", row_limit=10))  # doctest: +SKIP

Events are the operations (`aten::mm`), their derivatives (`MmBackward0`), steps of optimizers and what
`record_function` names. Memory is that of the results. Creating tensors and drawing random numbers is not recorded.
"""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from .autograd.profiler import EventList, FunctionEvent, Recorder, record_function
from .optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(Enum):
    """What can be recorded; on a GPU the launches are, which are the processor's."""

    CPU = 0
    CUDA = 2


def supported_activities() -> set[ProfilerActivity]:
    """Return the activities that are recorded."""
    return {ProfilerActivity.CPU}


class ProfilerAction(Enum):
    """What a profiler does during a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Return a schedule for `profile`: wait, warm up, record, and so on.

    Args:
        wait: steps to let pass at the beginning of a cycle.
        warmup: steps to record and throw away.
        active: steps to record and keep.
        repeat: how many cycles; 0 for no end.
        skip_first: steps to let pass before the first cycle.
        skip_first_wait: if not 0, the first cycle does not wait when steps were skipped.

    Raises:
        AssertionError: a negative number, or nothing to record.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError(
            f"Invalid profiler schedule arguments. Got wait={wait} (need >= 0), warmup={warmup} (need >= 0),"
            f" active={active} (need > 0), repeat={repeat} (need >= 0), skip_first={skip_first} (need >= 0)."
        )
    if warmup == 0:
        warnings.warn("Profiler won't be using warmup, this can skew profiler results", stacklevel=2)

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle = wait + warmup + active
        if repeat > 0 and step // cycle >= repeat:
            return ProfilerAction.NONE
        place = step % cycle
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if place < cycle - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def _always(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False, use_python_export: bool = False
) -> Callable[[Any], None]:
    """Return a function for `on_trace_ready` that writes a Chrome trace into a folder.

    Raises:
        RuntimeError: the folder cannot be made.
    """

    def handle(prof: Any) -> None:
        try:
            os.makedirs(dir_name, exist_ok=True)
        except OSError as error:
            raise RuntimeError("Can't create directory: " + dir_name) from error
        name = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        suffix = ".gz" if use_gzip else ""
        prof.export_chrome_trace(os.path.join(dir_name, f"{name}.{time.time_ns()}.pt.trace.json{suffix}"))

    return handle


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


class profile:
    """Context manager that records operations; the functions of a finished profile give tables and traces.

    Args:
        activities: accepted for PyTorch's interface; what runs on the processor is recorded.
        schedule: what to do in each step (see `schedule`); without it everything is recorded. `step` ends a step.
        on_trace_ready: called with the profile whenever a recording is complete.
        record_shapes: keep the shapes of inputs.
        profile_memory: count the bytes of results.
        with_stack, with_flops, with_modules, options: PyTorch's other options, accepted without effect.

    Source: https://docs.pytorch.org/docs/stable/profiler.html
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        **options: Any,
    ) -> None:
        self.activities = set(activities) if activities is not None else supported_activities()
        if not self.activities:
            raise AssertionError("No valid profiler activities found")
        self.schedule = schedule or _always
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.step_num = 0
        self.current_action = self.schedule(0)
        self._recorder: Recorder | None = None
        self._finished: EventList | None = None
        self._hooks: list[Any] = []
        self._steps: list[FunctionEvent] = []
        self._updates: list[FunctionEvent] = []

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, with what the schedule says of step 0."""
        if self.current_action is not ProfilerAction.NONE:
            self._start_recorder()

    def stop(self) -> None:
        """End; a recording that is under way is complete."""
        recording = self.current_action in _RECORDING
        self._stop_recorder(recording)
        if recording and self.on_trace_ready:
            self.on_trace_ready(self)

    def step(self) -> None:
        """End a step and begin the next."""
        previous, self.step_num = self.current_action, self.step_num + 1
        self.current_action = self.schedule(self.step_num)
        complete = previous is ProfilerAction.RECORD_AND_SAVE or (
            previous is ProfilerAction.RECORD and self.current_action not in _RECORDING
        )
        warm = previous is ProfilerAction.WARMUP and self.current_action is not ProfilerAction.WARMUP
        if complete or warm:
            self._stop_recorder(complete)
        if complete and self.on_trace_ready:
            self.on_trace_ready(self)
        if self.current_action is not ProfilerAction.NONE:
            if self._recorder is None:
                self._start_recorder()
            else:
                self._next_step()

    def _start_recorder(self) -> None:
        self._recorder = Recorder(self.record_shapes, self.profile_memory)
        self._recorder.start()
        self._hooks = [
            register_optimizer_step_pre_hook(self._before_update),
            register_optimizer_step_post_hook(self._after_update),
        ]
        self._next_step()

    def _stop_recorder(self, keep: bool) -> None:
        if self._recorder is None:
            return
        self._end_step()
        for hook in self._hooks:
            hook.remove()
        self._recorder.stop()
        if keep:
            self._finished = EventList(self._recorder.events, self.profile_memory)
        self._recorder = None

    def _next_step(self) -> None:
        self._end_step()
        if self.record_steps and self._recorder is not None:
            self._steps.append(self._recorder.begin(f"ProfilerStep#{self.step_num}", "user_annotation"))

    def _end_step(self) -> None:
        if self._steps and self._recorder is not None:
            self._recorder.finish(self._steps.pop())

    def _before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._recorder is not None:
            name = f"Optimizer.step#{type(optimizer).__name__}.step"
            self._updates.append(self._recorder.begin(name, "user_annotation"))

    def _after_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._updates and self._recorder is not None:
            self._recorder.finish(self._updates.pop())

    def events(self) -> EventList:
        """Return all events of the last complete recording.

        Raises:
            AssertionError: nothing was recorded.
        """
        if self._finished is None:
            raise AssertionError("Profiler must be initialized before getting key averages")
        return self._finished

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """Return averages of the events by their names, or by names and shapes of inputs; `table()` shows them."""
        return self.events().key_averages(group_by_input_shape)

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for chrome://tracing or https://ui.perfetto.dev; compressed if the name ends in .gz."""
        self.events().export_chrome_trace(path)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write the nested names of events with a time in microseconds each, as flame graph programs read them.

        Raises:
            ValueError: another metric than `self_cpu_time_total`.
        """
        if metric != "self_cpu_time_total":
            raise ValueError(f"metric should be one of: ['self_cpu_time_total'], got {metric!r}")
        with open(path, "w", encoding="utf-8") as file:
            for event in self.events():
                names, parent = [event.name], event.cpu_parent
                while parent is not None:
                    names.append(parent.name)
                    parent = parent.cpu_parent
                print(f"{';'.join(reversed(names)).replace(' ', '_')} {int(event.self_cpu_time_total)}", file=file)

    def add_metadata_json(self, key: str, value: str) -> None:
        """Accepted for PyTorch's interface."""

    def toggle_collection_dynamic(self, enable: bool, activities: Iterable[ProfilerActivity]) -> None:
        """Accepted for PyTorch's interface."""
