"""Iterating in a background thread."""

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_NUM_AHEAD = 4


@contextlib.contextmanager
def in_background(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Iterates in a thread that stays a few items ahead of the consumer.

    The value of the context is an iterator of the same items. An exception that the items raise is
    raised to the consumer. When the context ends, the thread stops, even if items are left.
    """
    ahead: queue.Queue[T | BaseException | None] = queue.Queue(_NUM_AHEAD)
    stopped = threading.Event()

    def put(item: T | BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ahead.put(item, timeout=0.1)
                return

    def produce() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    def consume() -> Iterator[T]:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stopped.set()
        thread.join()
