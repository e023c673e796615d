import threading
import time

import pytest

from nerfblendshape_ns.common.parallel import PerThread, num_workers, ordered_map


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_whatever_the_order_of_work(workers):
    later = threading.Event()

    def work(number):
        if number == 0 and workers > 1:
            assert later.wait(10)
        if number == 1:
            later.set()
        return number**2

    assert list(ordered_map(work, range(20), workers)) == [number**2 for number in range(20)]


def test_few_items_are_taken_ahead():
    taken = []
    results = ordered_map(lambda number: number, (taken.append(number) or number for number in range(100)), 3)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    assert len(taken) <= 4 + 3 + 2
    results.close()
    assert len(taken) <= 4 + 3 + 2


def test_the_first_failing_item_is_told_and_nothing_more_is_begun():
    begun = []

    def work(number):
        begun.append(number)
        if number >= 5:
            raise KeyboardInterrupt(number)
        return number

    results = []
    with pytest.raises(KeyboardInterrupt, match="^5$"):
        results.extend(ordered_map(work, range(1000), 2))
    assert max(begun) <= 6 and len(results) == 5
    threads = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda number: 1 // number, (number for number in (1, 2, 0, 3)), 2))
    assert set(threading.enumerate()) <= threads  # Those of earlier tests may end.


def test_items_that_fail_are_told_too():
    def items():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(ordered_map(str, items(), 2))


def test_each_thread_has_an_object_of_its_own():
    made = PerThread(object)
    assert made() is made()
    meet = threading.Barrier(2)

    def own(_):
        meet.wait(10)
        return made(), made()

    (first, again), (second, _) = ordered_map(own, range(2), 2)
    assert first is again and first is not second and made() not in (first, second)


def test_workers_follow_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(3)), raising=False)
    assert num_workers() == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert num_workers() == 8
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert num_workers() == 1


def test_items_before_the_failed_one_give_their_own_error():
    """The second item fails while the first is under way, and fails too, later: the first one's error is told."""
    second_failed = threading.Event()

    def work(item):
        if item == 1:
            second_failed.set()
            raise KeyError("second")
        second_failed.wait(5)
        time.sleep(0.05)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        list(ordered_map(work, [0, 1, 2], workers=2))
