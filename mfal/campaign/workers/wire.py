"""Messages over pipes: eight bytes of length, then so many bytes."""

import os
import select
import struct

__all__ = ["Frames"]

_LENGTH = struct.Struct("<Q")


class Frames:
    """One end of a pair of pipes.

    Args:
      reading: descriptor to read from.
      writing: descriptor to write to.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing

    def send(self, message: bytes) -> None:
        """Write one message whole."""
        view = memoryview(_LENGTH.pack(len(message)) + message)
        while view:
            view = view[os.write(self._writing, view) :]

    def ready(self, seconds: float) -> bool:
        """Whether something to read, or the end, comes within so many seconds."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN | select.POLLHUP)
        return bool(poll.poll(seconds * 1000))

    def receive(self) -> bytes:
        """Read one message whole.

        Raises:
          EOFError: where the other side has gone.
        """
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return self._exactly(length)

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self._reading)
        os.close(self._writing)

    def _exactly(self, number: int) -> bytes:
        parts = []
        while number:
            part = os.read(self._reading, min(number, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            number -= len(part)
        return b"".join(parts)
