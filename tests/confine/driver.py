"""The host's side of the probes: makes what they try to reach, and runs them.

A script of its own, since it also runs as another user: `driver.py confined|plain PROBES SECCOMP`
prints a report; `driver.py targets` only makes what there is to reach, until its stdin ends.
The environment says where `code_sandboxes` is, and optionally which bubblewrap to use.
"""

import ctypes
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

# What the supervisor does before it starts anything: the filter, and to be untraceable.
FIRST = """
import ctypes, subprocess, sys, types
seccomp = types.ModuleType("seccomp")
exec(SECCOMP, seccomp.__dict__)
seccomp.apply()
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
done = subprocess.run([sys.executable, "-I", "-c", CODE], stdin=subprocess.DEVNULL)
sys.exit(done.returncode)
"""


def serve(family: int, kind: int, address: object) -> socket.socket:
    """Answer whoever comes."""
    server = socket.socket(family, kind)
    server.bind(address)
    if kind == socket.SOCK_STREAM:
        server.listen(8)

    def loop() -> None:
        while True:
            if kind == socket.SOCK_DGRAM:
                server.sendto(b"host", server.recvfrom(16)[1])
            else:
                peer, _ = server.accept()
                with peer:
                    peer.sendall(b"host")

    threading.Thread(target=loop, daemon=True).start()
    return server


def own_address() -> str:
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.200", 9))
        except OSError:
            return "127.0.0.1"
        return str(s.getsockname()[0])


def targets(base: str, mark: str) -> tuple[dict[str, object], subprocess.Popen[bytes]]:
    """Everything that the probes look for."""
    libc = ctypes.CDLL(None)
    os.mkdir(base + "/home")
    for name in ("home/secret", "beside"):
        Path(base, name).write_text("secret")
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", mark])
    key = secrets.randbelow(2**30)
    libc.shmget(key, 4096, 0o1600)
    run = tempfile.mkdtemp(dir="/run") if os.access("/run", os.W_OK) else base
    serve(socket.AF_UNIX, socket.SOCK_STREAM, base + "/s")
    serve(socket.AF_UNIX, socket.SOCK_STREAM, run + "/run-s")
    serve(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + mark)
    found = {
        "tcp": serve(socket.AF_INET, socket.SOCK_STREAM, ("", 0)).getsockname()[1],
        "tcp6": serve(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)).getsockname()[1],
        "udp": serve(socket.AF_INET, socket.SOCK_DGRAM, ("", 0)).getsockname()[1],
        "address": own_address(),
        "socket": base + "/s",
        "run_socket": run + "/run-s",
        "abstract": mark,
        "mark": mark,
        "secret": os.environ["PROBE_SECRET"],
        "victim": victim.pid,
        "driver": os.getpid(),
        "shm": key,
        "home": base + "/home",
        "beside": base + "/beside",
        "environment": sys.prefix,
        "hostname": os.uname().nodename,
    }
    return found, victim


def clean_up(found: dict[str, object], victim: subprocess.Popen[bytes]) -> None:
    victim.kill()
    victim.wait()
    libc = ctypes.CDLL(None)
    libc.shmctl(libc.shmget(found["shm"], 0, 0), 0, None)
    folder = os.path.dirname(str(found["run_socket"]))
    if folder.startswith("/run/"):
        shutil.rmtree(folder)


def report(found: dict[str, object], probes: str, seccomp: str, confined: bool, base: str) -> str:
    """What the probes say, confined or not."""
    os.environ["HOME"] = str(found["home"])
    code = f"source = {probes!r}; exec(source); main(source, {found!r}, True)"
    command = [sys.executable, "-I", "-c", code]
    if confined:
        from code_sandboxes.confine import bubblewrap, probe

        if "PROBE_BWRAP" in os.environ:
            probe._candidates = lambda: [os.environ["PROBE_BWRAP"]]
        work = base + "/work"
        os.mkdir(work, 0o700)
        first = f"SECCOMP, CODE = {seccomp!r}, {code!r}" + FIRST
        env = {"PATH": "/usr/bin:/bin", "HOME": work, "TMPDIR": work}
        command = bubblewrap.wrap([sys.executable, "-I", "-c", first], writable=[work], env=env)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
    )
    return done.stdout or json.dumps({"failed": done.stderr})


def main(mode: str, *sources: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        found, victim = targets(base, "mark-" + secrets.token_hex(8))
        try:
            if mode == "targets":
                print(json.dumps(found), flush=True)
                sys.stdin.read()
            else:
                probes, seccomp = (Path(name).read_text() for name in sources)
                print(report(found, probes, seccomp, mode == "confined", base))
        finally:
            clean_up(found, victim)


if __name__ == "__main__":
    main(*sys.argv[1:])
