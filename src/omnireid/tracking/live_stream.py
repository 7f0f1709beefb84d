"""A live stream: it is read all the time, its newest frames are taken, and it is opened again when it ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from threading import Condition, Event, Thread

from omnireid.errors import TrackingError, first_line
from omnireid.tracking.video_container import (
    OpenContainer,
    RisingTimes,
    UndecodedFrame,
    VideoCounts,
    read_container,
    undecoded,
)
from omnireid.tracking.video_options import VideoOptions

_LONGEST_WAIT = 30.0


def newest_frames(opened: OpenContainer, options: VideoOptions, counts: VideoCounts) -> Generator[UndecodedFrame]:
    """The frames of a live stream that is read in a thread of its own.

    At most `options.waiting_frames` wait for the caller. When another arrives, the oldest of them is dropped.
    """
    waiting: deque[UndecodedFrame] = deque()
    changed, stop = Condition(), Event()
    failures: list[Exception] = []
    done = Event()

    def read() -> None:
        try:
            for picture in _connected(opened, options, counts, stop):
                with changed:
                    if len(waiting) == options.waiting_frames:
                        waiting.popleft()
                        counts.dropped += 1
                    waiting.append(picture)
                    changed.notify()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)
        with changed:
            done.set()
            changed.notify()

    thread = Thread(target=read, name="live-stream", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or done.is_set())
                if not waiting:
                    break
                picture = waiting.popleft()
            yield picture
        if failures:
            raise failures[0]
    finally:
        stop.set()
        thread.join(1.0)  # a read that waits for the network ends by its own timeout


def _connected(
    opened: OpenContainer, options: VideoOptions, counts: VideoCounts, stop: Event
) -> Iterator[UndecodedFrame]:
    """The frames of a stream, over all its connections, until it is stopped or does not come back."""
    begun = time.monotonic()
    times = RisingTimes(opened.rate)
    connection: OpenContainer | None = opened
    reason = ""
    attempts = 0
    while not stop.is_set():
        if connection is not None:
            read_before = counts.read
            reason = yield from _frames_of_connection(connection, counts, times, stop)
            attempts = 0 if counts.read > read_before else attempts
        if attempts == options.reconnects:
            tried = f"{attempts} attempt{'' if attempts == 1 else 's'}"
            counts.ended_because = f"{opened.name} did not come back after {tried}: {reason}"
            return
        if stop.wait(min(options.reconnect_wait * 2 ** min(attempts, 16), _LONGEST_WAIT)):
            return
        attempts += 1
        try:
            connection = read_container(opened.name, options)
            counts.reconnections += 1
            times.restart(time.monotonic() - begun)
        except TrackingError as error:
            connection, reason = None, first_line(error)


def _frames_of_connection(
    connection: OpenContainer, counts: VideoCounts, times: RisingTimes, stop: Event
) -> Generator[UndecodedFrame, None, str]:
    """The frames of one connection. Returns why it ended."""
    import av

    try:
        for frame in connection.decoded:
            if stop.is_set():
                return "it was stopped"
            counts.read += 1
            if frame is None:
                counts.broken += 1
                continue
            yield undecoded(counts.read - 1, times.following(frame.time), frame)
    except (av.FFmpegError, TrackingError) as error:
        return first_line(error)
    finally:
        connection.close()
    return "it ended"
