"""Limits on their own."""

from __future__ import annotations

import threading

import pytest

from ppsr.errors import ConfigError
from ppsr.serve.limits import Admission, Limits, RefusedError, Watch


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_limit_that_limits_nothing_is_refused(value):
    with pytest.raises(ConfigError, match="max_seconds"):
        Limits(max_seconds=value)


def test_places_are_given_back_also_after_an_error():
    admission = Admission(1)
    with pytest.raises(RuntimeError), admission.enter():
        raise RuntimeError
    with admission.enter(), pytest.raises(RefusedError) as refused, admission.enter():
        pass
    assert (refused.value.status, refused.value.retry_after) == (429, 2)
    assert admission.taken == 0


def test_no_more_than_the_places_are_given_to_many_threads():
    admission, most, lock = Admission(3), [], threading.Lock()
    refused = []

    def visit():
        for _ in range(300):
            try:
                with admission.enter(), lock:
                    most.append(admission.taken)
            except RefusedError:
                refused.append(1)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 3
    assert len(most) + len(refused) == 8 * 300
    assert admission.taken == 0


def test_a_watch_stops_when_cancelled_and_when_time_is_over():
    watch = Watch()
    watch.start(60)
    watch.step()
    assert watch.done == 1
    watch.start(0)
    with pytest.raises(RefusedError, match="longer than 0 s") as refused:
        watch.step()
    assert refused.value.status == 422
    watch.cancel()
    with pytest.raises(RefusedError, match="cancelled"):
        watch.check()
