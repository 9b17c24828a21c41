"""The command line of bubblewrap: what a confined process has, keeps and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from code_sandboxes.confine import arguments
from code_sandboxes.confine.bubblewrap import kill, wrap
from code_sandboxes.errors import UnsupportedError
from code_sandboxes.testing.base import eventually
from confine.running import confined, needs_confinement, needs_root

pytestmark = needs_confinement
ROOT = os.geteuid() == 0


@pytest.fixture
def home(tmp_path: Path) -> str:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    return str(place)


def start(command: list[str], home: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        wrap(command, writable=[home], env={"PATH": "/usr/bin:/bin"}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def running(mark: str) -> list[int]:
    """The processes of the whole machine that have `mark` for an argument."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                found.append(int(pid))
        except OSError:
            pass
    return found


def gone(mark: str) -> bool:
    return eventually(lambda: not running(mark), 5)


def test_files_of_a_writable_directory(home: str) -> None:
    Path(home, "from_host").write_text("host")
    os.mkdir(home + "/deep")
    Path(home, "deep/file").write_text("host")
    code = f"""
import os
os.chdir({home!r})
assert open("from_host").read() == "host"
open("from_host", "w").write("inside")
open("deep/file", "a").write("inside")
open("new", "w").write("inside")
"""
    confined(code, [home])
    assert Path(home, "from_host").read_text() == "inside"
    assert Path(home, "deep/file").read_text() == "hostinside"
    # the host's user still may do everything there
    assert os.stat(home + "/new").st_uid == (arguments.IDENTITY if ROOT else os.getuid())
    os.remove(home + "/new")
    Path(home, "from_host").write_text("host again")


@needs_root
def test_only_what_is_roots_is_handed_over(home: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("host")
    os.link(outside, home + "/hard")
    os.symlink(outside, home + "/soft")
    Path(home, "other").touch()
    os.chown(home + "/other", 12345, 12345)
    wrap(["true"], writable=[home], env={})
    assert os.stat(home).st_uid == arguments.IDENTITY
    assert os.lstat(home + "/soft").st_uid == arguments.IDENTITY
    assert os.stat(outside).st_uid == 0
    assert os.stat(home + "/other").st_uid == 12345


@needs_root
def test_roots_groups_stay_outside(home: str) -> None:
    command = wrap(["/usr/bin/id", "-G"], writable=[home], env={"PATH": "/usr/bin:/bin"})
    groups = ["setpriv", "--groups=4,27,65534", "--"]
    assert subprocess.check_output([*groups, *command], text=True) == f"{arguments.IDENTITY}\n"


def test_readable_paths(home: str, tmp_path: Path) -> None:
    file, folder = tmp_path / "cert ificate.pem", tmp_path / "ünicode"
    file.write_text("pem")
    folder.mkdir()
    (folder / "file").write_text("in it")
    folder.joinpath("file").chmod(0o666)
    code = f"""
import errno
print(open({str(file)!r}).read(), open({str(folder / "file")!r}).read())
try:
    open({str(folder / "file")!r}, "w")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    assert confined(code, [home], readable=[str(file), str(folder)]) == "pem in it\nEROFS\n"


def test_a_readable_link_among_what_is_shown(home: str, tmp_path: Path) -> None:
    shown = next(p for p in arguments.SETTINGS if os.path.isdir(p) and os.listdir(p))
    for name in os.listdir(shown):
        path = os.path.join(shown, name)
        if os.path.exists(path):
            confined(f"import os; os.stat({path!r})", [home], readable=[path])
            return


def test_paths_in_one_another(tmp_path: Path) -> None:
    inner, deeper = tmp_path / "a/b", tmp_path / "a/b/c"
    deeper.mkdir(parents=True)
    (deeper / "file").write_text("read only")
    code = f"""
import errno
open({str(inner / "new")!r}, "w").close()
for path in ({str(tmp_path / "a/no")!r}, {str(deeper / "file")!r}):
    try:
        open(path, "w")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    options = {"readable": [str(tmp_path / "a"), str(deeper)]}
    assert confined(code, [str(inner)], **options) == "EROFS\nEROFS\n"


def test_the_environment_is_what_was_given(home: str) -> None:
    code = "import os; print(sorted(os.environ.items()))"
    given = {"A": "1 2", "B": "", "Ü": "é\n"}
    said = confined(code, [home], env=given | {"LC_CTYPE": "C.UTF-8"})
    assert said == f"{sorted([*given.items(), ('LC_CTYPE', 'C.UTF-8'), ('PWD', '/')])}\n"


def test_an_environment_that_no_list_of_processes_shows(home: str) -> None:
    code = "import os; print(sorted(os.environ))"
    command = wrap([sys.executable, "-I", "-c", code], writable=[home], env=None)
    assert "--setenv" not in command
    said = subprocess.check_output(command, env={"LC_CTYPE": "C.UTF-8", "KEY": "x"}, text=True)
    assert said == "['KEY', 'LC_CTYPE', 'PWD']\n"


def test_scratch_is_its_own_and_bounded(home: str) -> None:
    code = """
import os
print(sorted(os.listdir("/tmp") + os.listdir("/dev/shm")))
for place in ("/tmp", "/dev/shm"):
    open(place + "/x", "w").close()
    print(os.statvfs(place).f_blocks * os.statvfs(place).f_frsize)
"""
    # only the way to what is shown may lead through the host's /tmp
    shown = (home, sys.prefix, sys.base_prefix)
    there = sorted({Path(path).parts[2] for path in shown if path.startswith("/tmp/")})
    assert confined(code, [home]) == f"{there}\n" + f"{arguments.SCRATCH}\n" * 2


def test_it_knows_its_user_and_itself(home: str) -> None:
    code = """
import getpass, grp, os, pwd, socket, ssl
print(pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name, getpass.getuser())
print(socket.gethostbyname("localhost"), socket.gethostbyname(socket.gethostname()))
ssl.create_default_context()
"""
    assert confined(code, [home]) == "sandbox sandbox sandbox\n127.0.0.1 127.0.0.1\n"


def test_packages_of_this_environment_work(home: str) -> None:
    pytest.importorskip("ipykernel")
    assert confined("import ipykernel.kernelapp, zmq; print(zmq.Context())", [home])


def test_its_end_is_the_end_of_all(home: str) -> None:
    mark = f"mark-{time.time_ns()}"
    code = f"""
import os, subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(99)", {mark!r}]
subprocess.Popen(sleep, start_new_session=True)
print(os.getpid(), flush=True)
sys.stdin.read()
"""
    process = start([sys.executable, "-I", "-c", code], home)
    assert process.stdout and process.stdout.readline() == "1\n"
    # while a process takes its new program in, the system has no arguments to show for it
    assert eventually(lambda: running(mark), 5)
    process.stdin.close()  # type: ignore[union-attr]
    assert process.wait(10) == 0
    assert gone(mark)
    process.stdout.close()


@pytest.mark.parametrize("below", ["", "shell"])
def test_kill(home: str, below: str) -> None:
    mark = f"mark-{time.time_ns()}"
    code = f"""
import signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)", {mark!r}])
print("up", flush=True)
time.sleep(99)
"""
    command = wrap([sys.executable, "-I", "-c", code], writable=[home], env={})
    if below:
        command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout and process.stdout.readline() == "up\n"
    kill(process.pid)
    assert process.wait(10) == 128 + signal.SIGKILL
    assert gone(mark)
    process.communicate()


def test_it_outlives_its_parent(home: str) -> None:
    command = wrap(["/bin/sh", "-c", "read line; echo $line"], writable=[home], env={})
    read, write = os.pipe()
    out, out_end = os.pipe()
    code = f"""
import os, signal, subprocess
subprocess.Popen({command!r}, stdin={read}, stdout={out_end}, start_new_session=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], pass_fds=(read, out_end))
    assert done.returncode == -signal.SIGKILL
    os.close(read)
    os.close(out_end)
    os.write(write, b"still here\n")
    with os.fdopen(out) as file:
        assert file.read() == "still here\n"
    os.close(write)


def test_signals_from_inside_do_not_reach_the_first_process(home: str) -> None:
    code = """
import os, subprocess, sys
shell = "kill -KILL 1; kill -STOP 1; kill -KILL -1; echo survived"
print(subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True).returncode)
"""
    # the shell itself dies of the third, the first process of none
    assert confined(code, [home]) in ("-9\n", "0\n")


def test_a_home_among_the_programs_is_hidden(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/usr/share/zoneinfo")
    assert confined("import os; print(os.listdir('/usr/share/zoneinfo'))", [home]) == "[]\n"


def test_a_python_that_is_the_home(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/srv/me")
    monkeypatch.setenv("HOME", "/srv/me")
    with pytest.raises(UnsupportedError, match="holds the whole home directory"):
        wrap(["true"], writable=[home], env={})


def test_a_python_behind_links(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("venv/bin", "links"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "links/python").symlink_to(os.path.realpath(sys.executable))
    (tmp_path / "links/again").symlink_to("python")
    (tmp_path / "venv/bin/python").symlink_to("../../links/again")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "exec_prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    assert confined("import sys; print(sys.executable)", [home]) == f"{sys.executable}\n"
