"""A study between processes: its volumes lie in memory that both map, and only the rest is pickled.

A study's volumes are some 30 MB, which a pipe copies four times. Here they are written once, into memory without a
name: a file descriptor is all that leads there. The system frees it with the last process that holds one, however that
process ends.
"""

import mmap
import os
import pickle
import socket
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection

from lumbar.reading.study import Study

ALIGNMENT = 64  # bytes of each array's place: a cache line


@dataclass(frozen=True)
class SharedStudy:
    """A study in shared memory.

    Attributes:
        pickled: The study without its arrays' bytes, tens of kB.
        sizes: Bytes of each array.
        file: Descriptor of the memory; whoever holds this object owns it, until ``close``.
    """

    pickled: bytes
    sizes: tuple[int, ...]
    file: int

    @classmethod
    def of(cls, study: Study) -> "SharedStudy":
        """Copy a study's arrays into shared memory; MemoryError if there is not enough."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(study, protocol=5, buffer_callback=buffers.append)
        parts = [buffer.raw() for buffer in buffers]
        shared = cls(pickled, tuple(part.nbytes for part in parts), nameless_file())
        try:
            if size := places(shared.sizes)[-1]:
                os.posix_fallocate(shared.file, 0, size)  # an error now, not a signal at the first write
                with mmap.mmap(shared.file, size) as mapped:
                    for start, part in zip(places(shared.sizes), parts, strict=False):
                        mapped[start : start + part.nbytes] = part
        except OSError as error:
            shared.close()
            raise MemoryError(f"no shared memory for {places(shared.sizes)[-1] >> 20} MB: {error}") from error
        except BaseException:
            shared.close()
            raise
        return shared

    def open(self) -> Study:
        """Return the study, its arrays on the shared memory: they stay when this object is closed."""
        starts = places(self.sizes)
        mapped = memoryview(mmap.mmap(self.file, starts[-1])) if starts[-1] else memoryview(b"")
        buffers = [mapped[start : start + size] for start, size in zip(starts, self.sizes, strict=False)]
        return pickle.loads(self.pickled, buffers=buffers)

    def send(self, connection: Connection) -> None:
        """Send the study through a ``Pipe`` between two processes; this one still has to close it."""
        connection.send((self.pickled, self.sizes))
        with socket_of(connection) as channel:
            socket.send_fds(channel, [b"f"], [self.file])

    @classmethod
    def receive(cls, message: tuple[bytes, tuple[int, ...]], connection: Connection) -> "SharedStudy":
        """Return the study of a ``send``, once its message was read from the connection.

        Raises:
            EOFError: The other end closed before it sent all.
        """
        with socket_of(connection) as channel:
            _, files, _, _ = socket.recv_fds(channel, 1, 1)
        if not files:
            raise EOFError("no descriptor came with the study")
        return cls(*message, files[0])

    def __enter__(self) -> "SharedStudy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the memory; it lives on while an opened study does."""
        os.close(self.file)


def places(sizes: tuple[int, ...]) -> list[int]:
    """Return where each array begins, and behind them the bytes of all."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    return starts


def nameless_file() -> int:
    """Return a descriptor of new memory; where the system has none without a name, of an unlinked file."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("study")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def socket_of(connection: Connection) -> socket.socket:
    """Return a ``Pipe``'s end as the socket that it is, to be closed apart from it."""
    return socket.socket(fileno=os.dup(connection.fileno()))
