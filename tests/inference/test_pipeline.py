"""Reading ahead and writing behind: order, bounds, errors, early ends."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ppsr.inference.pipeline import WriteBehind, read_ahead


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_items_come_in_order_and_no_more_than_allowed_are_read_ahead(ahead):
    read = []

    def items():
        for number in range(10):
            read.append(number)
            yield number

    for number in read_ahead(items(), ahead):
        time.sleep(0.005)
        assert number < len(read) <= number + 1 + ahead + (ahead > 0)
    assert read == list(range(10))


def test_an_error_comes_in_the_place_of_its_item():
    def items():
        yield 1
        raise OSError("second")

    got = read_ahead(items(), 2)
    assert next(got) == 1
    with pytest.raises(OSError, match="second"):
        next(got)


def test_reading_ends_when_nobody_wants_more():
    def items():
        while True:
            yield 0

    got = read_ahead(items(), 2)
    next(got)
    got.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ppsr-reader"]


def test_without_a_queue_an_item_is_consumed_before_the_next(pool):
    written = []

    def consume(items):
        for item in items:
            time.sleep(0.01)
            written.append(item)

    writer = WriteBehind(pool, consume, 0)
    writer.start()
    for number in range(3):
        writer.put(number)
        assert written == list(range(number + 1))
    writer.close().result(5)


@pytest.mark.parametrize("ahead", [0, 1])
def test_an_error_of_the_consumer_reaches_the_producer_and_never_blocks_it(pool, ahead):
    def consume(items):
        next(items)
        raise OSError(28, "No space left on device")

    writer = WriteBehind(pool, consume, ahead)
    writer.start()
    with pytest.raises(OSError, match="No space left"):
        for number in range(100):
            writer.put(number)
    with pytest.raises(OSError, match="No space left"):
        writer.close().result(5)
    writer.abort()


def test_an_abort_ends_the_consumer_by_an_exception_even_with_a_full_queue(pool):
    seen = []

    def consume(items):
        try:
            for item in items:
                time.sleep(0.02)
                seen.append(item)
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    writer = WriteBehind(pool, consume, 2)
    writer.start()
    for number in range(3):
        writer.put(number)
    writer.abort()
    assert writer.future.done()
    assert seen[-1] == "_Aborted"


class _Interrupted(ThreadPoolExecutor):
    """A signal comes when the consumer runs and nobody has its future yet."""

    def submit(self, *args, **kwargs):
        super().submit(*args, **kwargs)
        raise KeyboardInterrupt


def test_a_consumer_whose_start_was_interrupted_ends():
    seen = []

    def consume(items):
        try:
            seen.extend(items)
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    with _Interrupted(1) as pool:
        writer = WriteBehind(pool, consume, 2)
        with pytest.raises(KeyboardInterrupt):
            writer.start()
        writer.abort()
    assert seen == ["_Aborted"]
