"""The profiler: what it counts, how it shows it, and that nothing of it is left behind."""

import gzip
import importlib
import json
import threading
import time

import pytest

import nbtorch
from nbtorch.autograd import profiler as events
from nbtorch.profiler import ProfilerAction, profile, record_function, schedule, tensorboard_trace_handler
from tests.against_torch import assert_same


def training_step():
    model = nbtorch.nn.Sequential(nbtorch.nn.Linear(8, 4), nbtorch.nn.ReLU(), nbtorch.nn.Linear(4, 2))
    update = nbtorch.optim.SGD(model.parameters(), lr=0.1)
    model(nbtorch.ones(3, 8)).sum().backward()
    update.step()


def by_key(prof, **options):
    return {event.key: event for event in prof.key_averages(**options)}


def test_operations_derivatives_and_steps_of_optimizers_are_counted():
    with profile() as prof:
        training_step()
    found = by_key(prof)
    assert found["aten::relu"].count == 1
    assert found["ReluBackward0"].count == 1
    assert found["Optimizer.step#SGD.step"].count == 1
    assert found["aten::addmm"].count == found["AddmmBackward0"].count == 2
    assert all(event.cpu_time_total >= event.self_cpu_time_total > 0 for event in found.values())


def test_what_runs_inside_counts_for_the_total_alone():
    with profile() as prof, record_function("outer"):
        time.sleep(0.02)
        with record_function("inner"):
            time.sleep(0.01)
    found = by_key(prof)
    assert found["outer"].cpu_time_total >= 30_000
    assert 20_000 <= found["outer"].self_cpu_time_total < found["outer"].cpu_time_total
    assert [event.name for event in prof.events()] == ["outer", "inner"]
    assert prof.events()[1].cpu_parent is prof.events()[0]


def test_an_operation_that_calls_that_of_its_base_class_is_one_event():
    with profile() as prof:
        nbtorch.ones(2, 3).T.reshape(6)  # has to copy
    assert by_key(prof)["aten::unsafe_view"].count == 1


def test_products_that_end_with_a_view_go_by_their_own_name():
    with profile() as prof:
        nbtorch.nn.functional.linear(nbtorch.ones(2, 3, 4), nbtorch.ones(5, 4), nbtorch.ones(5))
        nbtorch.ones(2, 3, 4) @ nbtorch.ones(2, 4, 5)
    found = by_key(prof)
    assert found["aten::addmm"].count == found["aten::bmm"].count == 1


def test_record_function_decorates():
    @record_function("decorated")
    def function():
        return nbtorch.ones(2) + 1

    function()  # nothing records
    with profile() as prof:
        function()
        function()
    assert by_key(prof)["decorated"].count == 2


def test_memory_is_that_of_results_and_views_take_none():
    x = nbtorch.ones(100, 100)
    with profile(profile_memory=True) as prof, record_function("all"):
        (x * 2).view(-1)
    found = by_key(prof)
    assert found["aten::mul"].self_cpu_memory_usage == 40_000
    assert found["aten::view"].cpu_memory_usage == 0
    assert found["all"].cpu_memory_usage == 40_000
    assert found["all"].self_cpu_memory_usage == 0
    assert "39.06 KB" in prof.key_averages().table()


def test_shapes_of_inputs():
    with profile(record_shapes=True) as prof:
        nbtorch.ones(2, 3) @ nbtorch.ones(3, 4)
        nbtorch.ones(5, 3) @ nbtorch.ones(3, 4)
    averages = prof.key_averages(group_by_input_shape=True)
    assert [event.input_shapes for event in averages if event.key == "aten::mm"] == [[[2, 3], [3, 4]], [[5, 3], [3, 4]]]
    assert "[[2, 3], [3, 4]]" in averages.table()


def test_the_table_is_sorted_and_cut():
    with profile() as prof:
        with record_function("slow"):
            time.sleep(0.005)
        for _ in range(3):
            with record_function("often"):
                pass
    averages = prof.key_averages()
    lines = averages.table(sort_by="cpu_time_total", row_limit=1).splitlines()
    assert lines[1].split("  ")[-2].strip() == "# of Calls"
    assert "slow" in lines[3]
    assert lines[5].startswith("Self CPU time total: ")
    assert "often" in averages.table(sort_by="count", row_limit=1).splitlines()[3]
    assert len(averages.table(row_limit=-1).splitlines()) == 7
    with pytest.raises(AttributeError, match="nonesuch"):
        averages.table(sort_by="nonesuch")


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"wait": 1, "warmup": 1, "active": 2}, 9),
        ({"wait": 0, "warmup": 0, "active": 1, "repeat": 2}, 4),
        ({"wait": 1, "warmup": 0, "active": 2, "skip_first": 3}, 9),
        ({"wait": 2, "warmup": 1, "active": 1, "skip_first": 2, "skip_first_wait": 1}, 9),
    ],
)
@pytest.mark.torch
def test_schedules_are_pytorchs(arguments, steps):
    def program(torch):
        plan = importlib.import_module(f"{torch.__name__}.profiler").schedule(**arguments)
        return [str(plan(step)) for step in range(steps)]

    assert_same(program)


@pytest.mark.parametrize("arguments", [{"wait": -1, "warmup": 0, "active": 1}, {"wait": 0, "warmup": 0, "active": 0}])
def test_a_schedule_needs_something_to_record(arguments):
    with pytest.raises(AssertionError, match="Invalid profiler schedule arguments"):
        schedule(**arguments)


def test_steps_are_recorded_as_scheduled():
    ready = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=lambda prof: ready.append(by_key(prof))) as prof:
        for _ in range(9):
            nbtorch.ones(2) + 1
            prof.step()
    assert prof.current_action is ProfilerAction.NONE
    assert len(ready) == 2
    assert [name for found in ready for name in found if name.startswith("ProfilerStep")] == [
        f"ProfilerStep#{step}" for step in (2, 3, 6, 7)
    ]
    assert ready[0]["aten::add"].count == 2


def test_chrome_traces(tmp_path):
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path), use_gzip=True)) as prof:
        nbtorch.ones(2) + 1
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    (compressed,) = tmp_path.glob("*.pt.trace.json.gz")
    for text in (gzip.decompress(compressed.read_bytes()), (tmp_path / "trace.json").read_bytes()):
        (event,) = json.loads(text)["traceEvents"]
        assert (event["ph"], event["name"]) == ("X", "aten::add")
        assert event["dur"] > 0


def test_threads_have_events_of_their_own():
    with profile() as prof, record_function("main"):
        other = threading.Thread(target=lambda: nbtorch.ones(2) * 3)
        other.start()
        other.join()
    found = {event.name: event for event in prof.events()}
    assert found["aten::mul"].cpu_parent is None
    assert found["aten::mul"].thread != found["main"].thread


def test_nothing_is_left_behind_not_even_after_an_error():
    calls = {cls: cls.__dict__["__call__"] for cls in events._subclasses(events.Node) if "__call__" in cls.__dict__}
    with pytest.raises(ZeroDivisionError), profile():
        raise ZeroDivisionError
    assert calls
    assert all(cls.__dict__["__call__"] is call for cls, call in calls.items())
    assert events.engine.observe_backward is None


def test_one_profile_at_a_time():
    with profile(), pytest.raises(RuntimeError, match="already enabled"):
        profile().start()


def test_nothing_to_show_before_the_end():
    with pytest.raises(AssertionError, match="must be initialized"):
        profile().key_averages()


def test_the_older_interface():
    with nbtorch.autograd.profiler.profile(profile_memory=True) as prof, events.record_function("part"):
        nbtorch.ones(4) + 1
    assert "part" in prof.key_averages().table(sort_by="self_cpu_time_total")
    assert prof.self_cpu_time_total > 0


def test_results_are_the_same():
    x = nbtorch.arange(6.0).reshape(2, 3).requires_grad_()
    with profile():
        (x.exp() * x).sum().backward()
    inside, x.grad = x.grad, None
    (x.exp() * x).sum().backward()
    assert inside.equal(x.grad)
