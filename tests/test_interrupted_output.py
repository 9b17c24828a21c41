"""Interrupts at every point of a print: no text is lost, no stream falls silent for ever."""

import subprocess
import sys

# the timer's signals come as interrupts do: between any two steps of Python code
WRITER = """
import signal, time
from code_sandboxes.inside.textio import Writer
from code_sandboxes.inside.whole import Whole

told, whole = [], Whole()
def tell(out, stream):
    told.append(out)
writer = Writer(tell, "stdout", 1, whole)
signal.signal(signal.SIGALRM, lambda *_: whole.interrupt())
wrote = came = 0
until = time.monotonic() + 4
while time.monotonic() < until:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00001 + came % 97 * 0.000003)
        while True:
            writer.write(f"{wrote}\\n")
            wrote += 1
    except KeyboardInterrupt:
        came += 1
        whole.forget()
        writer.write(".\\n")
        if came % 40 == 0:  # the thread that sends what waits is alive
            writer.write("no end of a line")
            deadline = time.monotonic() + 5
            while not (told and told[-1].endswith("no end of a line")):
                assert time.monotonic() < deadline, f"silent after {came} interrupts"
                time.sleep(0.0005)
            writer.write("\\n")
writer.flush()
assert came > 200, came
lines = [line for line in "".join(told).split("\\n") if line.isdigit()]
numbers = list(dict.fromkeys(map(int, lines)))  # one that was written may not have been counted
assert numbers == list(range(numbers[-1] + 1)), "lost"
"""

WAITING = """
import queue, signal, threading, time
from collections import deque
from code_sandboxes.inside.streams import schedule_always, wait_until_sent

class Wake(queue.SimpleQueue):
    def send(self, _):
        self.put(None)

class Publisher:
    def __init__(self):
        self._events, self._event_pipe, self.ran_in = deque(), Wake(), set()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
    def work(self):
        while True:
            self._event_pipe.get()
            while self._events:
                self._events.popleft()()
    def stop(self):
        pass
    def schedule(self, job):  # as ipykernel's
        if self.thread.is_alive():
            self._events.append(job)
            self._event_pipe.send(b"")
        else:
            job()
    def note(self):
        self.ran_in.add(threading.get_ident())

def interrupt(*_):
    raise KeyboardInterrupt

publisher, came, until = Publisher(), 0, time.monotonic() + 3
schedule_always(publisher)
signal.signal(signal.SIGALRM, interrupt)
while time.monotonic() < until:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00001 + came % 97 * 0.000003)
        while True:
            wait_until_sent(publisher, first=publisher.note)
    except KeyboardInterrupt:
        came += 1
assert came > 200, came
signal.setitimer(signal.ITIMER_REAL, 0)
for _ in range(1000):  # ipykernel's own flush only queues the sending
    sent = []
    wait_until_sent(publisher, first=lambda: publisher.schedule(lambda: sent.append(1)))
    assert sent
done = threading.Event()
publisher.schedule(done.set)
assert publisher.ran_in == {publisher.thread.ident}, "two threads send"
assert done.wait(5), f"the publisher stands still after {came} interrupts"
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_interrupt_anywhere_in_a_print() -> None:
    run(WRITER)


def test_an_interrupt_anywhere_in_a_kernels_flush() -> None:
    run(WAITING)
