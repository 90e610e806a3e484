"""Reading ahead and writing behind: two threads in addition to the one that computes, with bounded queues."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END = object()
_POLL = 0.1  # seconds after which a waiting thread looks whether the other one has ended


class _Aborted(BaseException):
    """The producer gave up; what was written so far is to be removed."""


def read_ahead(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """Iterate in a thread that is up to `ahead` items in front; 0: without a thread.

    Errors of `items` are raised where the item would have come. When the caller stops early, so does the
    thread, after the item at hand.
    """
    if not ahead:
        yield from items
        return
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ppsr-reader") as reader:
        ready = deque(reader.submit(next, iterator, _END) for _ in range(ahead))
        try:
            while (item := ready.popleft().result()) is not _END:
                ready.append(reader.submit(next, iterator, _END))
                yield item  # type: ignore[misc]
        finally:
            for future in ready:
                future.cancel()


class WriteBehind(Generic[T]):
    """Hands items to a consumer that runs in a thread of a pool.

    Signals raise an exception anywhere. So that the consumer never waits for an item that will not come,
    call `start` where every exception leads to `abort`.

    Args:
        pool: with one thread, consumers run one after the other.
        consume: called with an iterator of the items. An abort is an exception that the iterator raises.
        ahead: items that may wait; 0: `put` returns when the item has been consumed.
    """

    def __init__(self, pool: Executor, consume: Callable[[Iterator[T]], None], ahead: int) -> None:
        self._items: queue.Queue[Any] = queue.Queue(max(1, ahead))
        self._waits = not ahead
        self._consumed = threading.Semaphore(0)
        self._submit = lambda: pool.submit(self._run, consume)
        self._future: Future[None] | None = None

    def start(self) -> None:
        """Start the consumer."""
        self._future = self._submit()

    @property
    def future(self) -> Future[None]:
        """Done when the consumer is, with its error."""
        assert self._future is not None, "not started"
        return self._future

    def _run(self, consume: Callable[[Iterator[T]], None]) -> None:
        with contextlib.suppress(_Aborted):
            consume(self._received())

    def _received(self) -> Iterator[T]:
        while (item := self._items.get()) is not _END:
            if isinstance(item, _Aborted):
                raise item
            yield item
            self._consumed.release()

    def put(self, item: T) -> None:
        """Hand over an item.

        Raises:
            Exception: what the consumer raised.
        """
        self._put(item)
        while self._waits and not self._consumed.acquire(timeout=_POLL):
            if self.future.done():
                break
        if self.future.done():
            self.future.result()

    def _put(self, item: Any) -> None:
        while not self.future.done():
            try:
                return self._items.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def close(self) -> Future[None]:
        """No more items come."""
        self._put(_END)
        return self.future

    def abort(self) -> None:
        """End the consumer by an exception and wait for it; its own error is ignored."""
        with contextlib.suppress(queue.Empty):  # what waits need not be written any more
            while True:
                self._items.get_nowait()
        self._items.put_nowait(_Aborted())  # also for a consumer whose start was interrupted
        if self._future is not None:
            self._future.exception()
