"""A process that has imported the kernel once and forks one kernel after another from there.

Each kernel is a process of its own, in a session of its own. It differs from ``python kernel/infer.py`` in two things:

* Its imports cost nothing.
* It dies with status 99 if it opens a network connection, or unpickles data that its own readers did not send.
"""

import faulthandler
import json
import os
import signal
import sys
import time
import traceback

STATUS_CAUGHT = 99
UNPICKLING_HOME = ("multiprocessing", "lumbar.run.shared_study")  # the pipe to the readers


def serve() -> None:
    """Fork a kernel for each line of JSON on standard input; answer with its pid, then with its status."""
    import infer
    import lumbar.run.pipeline  # noqa: F401  (the imports are the point)
    from tests.faults import patched_kernel

    answer({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become_kernel(order, infer, patched_kernel)
        answer({"pid": pid})
        _, status = os.waitpid(pid, 0)
        answer({"status": os.waitstatus_to_exitcode(status)})
    os._exit(0)  # torch takes seconds to leave


def answer(message: dict) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def become_kernel(order: dict, infer, patched_kernel) -> None:
    """Run the kernel as ordered in this process, which ends here."""
    status = 1
    try:
        os.setsid()
        for descriptor, path in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        faulthandler.enable()  # a crash leaves its stack in the log
        infer.STARTED = time.monotonic()
        sys.addaudithook(watch)
        for name, values in order["patches"].items():
            getattr(patched_kernel, name)(*values)
        status = infer.main(order["arguments"])
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def watch(event: str, _arguments: tuple) -> None:
    """End the process at what inference must never do (an audit hook)."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        caught(event)
    if event == "pickle.find_class":
        caller = sys._getframe(1)
        if not caller.f_globals.get("__name__", "").startswith(UNPICKLING_HOME):
            caught(event)


def caught(event: str) -> None:
    os.write(2, f"CAUGHT {event}\n{''.join(traceback.format_stack())}".encode())
    os._exit(STATUS_CAUGHT)


if __name__ == "__main__":
    serve()
