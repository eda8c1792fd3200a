"""Read ahead: a thread fills buffers in order while the caller uses the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Room = TypeVar("Room")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item, Room], Result], buffers: Sequence[Room]
) -> Generator[Result]:
    """``read(item, buffer)`` for each item, in order, by a thread that is at most ``len(buffers) -
    1`` items ahead.

    A result may lie in its buffer: it is the caller's until it asks for the next one. An error of
    ``read`` is raised in its turn. Leaving the iterator ends the thread.
    """
    free: queue.SimpleQueue[Room | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Room | None, Result | None, BaseException | None]] = (
        queue.SimpleQueue()
    )
    leaving = threading.Event()
    for buffer in buffers:
        free.put(buffer)

    def work() -> None:
        try:
            for item in items:
                room = free.get()
                if room is None or leaving.is_set():
                    return
                done.put((room, read(item, room), None))
            done.put((None, None, None))
        except BaseException as error:  # raised again where the caller waits for it
            done.put((None, None, error))

    thread = threading.Thread(target=work, name="windtunnel-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            room, result, error = done.get()
            if error is not None:
                raise error
            if room is None:
                return
            yield result  # type: ignore[misc]
            free.put(room)
    finally:
        leaving.set()
        free.put(None)  # in case it waits for room
        thread.join()
