"""Attempts to reach out of a sandbox. Runs inside, as source; standard library only.

Each probe returns "open..." if it got through, else what stopped it. `main` prints a report
of them as JSON; the same script runs without confinement, to see that a probe can get through.
"""

import ctypes
import errno
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
CALLS = {  # on x86_64, aarch64
    "process_vm_readv": (310, 270),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "clone": (56, 220),
    "clone3": (435, 435),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
NEW_USER, NEW_NET = 0x10000000, 0x40000000
PROBES, T = {}, {}  # name: probe; the targets that the driver made


def probe(function):
    PROBES[function.__name__] = function
    return function


def call(name, *args):
    number = CALLS[name][os.uname().machine == "aarch64"]
    args = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def checked(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def reach(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(2)
        s.connect(address)
        if kind == socket.SOCK_DGRAM:
            s.send(b"?")
        return "open: " + s.recv(16).decode()


def in_fork(function):
    """What `function` returns or raises in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, outcome(function).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def outcome(function):
    try:
        return str(function())
    except socket.gaierror as error:
        return f"gaierror {error.args[0]}"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    except Exception as error:  # noqa: BLE001 - a report, whatever happens
        return f"{type(error).__name__}: {error}"


# the network --------------------------------------------------------------------------
@probe
def tcp_to_host_loopback():
    return reach(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", T["tcp"]))


@probe
def tcp_to_host_address():
    return reach(socket.AF_INET, socket.SOCK_STREAM, (T["address"], T["tcp"]))


@probe
def tcp6_to_host_loopback():
    return reach(socket.AF_INET6, socket.SOCK_STREAM, ("::1", T["tcp6"]))


@probe
def udp_to_host_loopback():
    return reach(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", T["udp"]))


@probe
def udp_to_host_address():
    return reach(socket.AF_INET, socket.SOCK_DGRAM, (T["address"], T["udp"]))


@probe
def metadata_address():
    # whether there is a route at all: what answers depends on the machine
    with socket.socket() as s:
        s.setblocking(False)
        code = s.connect_ex(("169.254.169.254", 80))
    return (
        f"open: {errno.errorcode[code]}"
        if code in (0, errno.EINPROGRESS)
        else errno.errorcode[code]
    )


@probe
def dns():
    try:
        return "open: " + str(socket.getaddrinfo("probe.test", 80))
    except socket.gaierror as error:
        if error.args[0] == socket.EAI_NONAME:
            return "open: a server said that there is no such name"
        raise


@probe
def host_interfaces():
    names = [name for _, name in socket.if_nameindex()]
    return "open: " + " ".join(names) if set(names) - {"lo"} else "only lo"


@probe
def icmp():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.settimeout(2)
        s.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", ("127.0.0.1", 0))
        return "open: " + str(len(s.recv(64)))


@probe
def icmp_datagram():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    return "open"


@probe
def packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300).close()
    return "open"


@probe
def vsock():
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    return "open"


@probe
def kernel_crypto():
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).close()
    return "open"


@probe
def device_events():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).close()
    return "open"


@probe
def abstract_socket():
    return reach(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + T["abstract"])


@probe
def socket_file():
    return reach(socket.AF_UNIX, socket.SOCK_STREAM, T["socket"])


@probe
def socket_file_in_run():
    return reach(socket.AF_UNIX, socket.SOCK_STREAM, T["run_socket"])


@probe
def docker():
    for path in ("/var/run/docker.sock", "/run/docker.sock"):
        if os.path.exists(path):
            return f"open: {path}"
    return "none"


# processes -----------------------------------------------------------------------------
@probe
def signal_to_host_process():
    os.kill(T["victim"], 0)
    return "open"


@probe
def host_process_listed():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if T["mark"] in file.read().split("\0"):
                    return f"open: {pid}"
        except OSError:
            pass
    return "none"


@probe
def secret_in_an_environment():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ") as file:
                if T["secret"] in file.read():
                    return f"open: {pid}"
        except OSError:
            pass
    return "none"


@probe
def environ_of_the_host_process():
    with open(f"/proc/{T['driver']}/environ") as file:
        return "open" if T["secret"] in file.read() else "none"


@probe
def trace_host_process():
    checked(libc.ptrace(16, T["victim"], 0, 0), "ptrace")  # PTRACE_ATTACH
    os.waitpid(T["victim"], 0x40000000)
    libc.ptrace(17, T["victim"], 0, 0)
    return "open"


@probe
def trace_own_child():
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    try:
        checked(libc.ptrace(16, pid, 0, 0), "ptrace")
        return "open"
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@probe
def memory_of_host_process():
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    there = (ctypes.c_void_p * 2)(1, 8)
    try:
        call("process_vm_readv", T["victim"], vector, 1, there, 1, 0)
    except OSError as error:
        # it looked at the address: it could have read
        return "open" if error.errno == errno.EFAULT else errno.errorcode[error.errno]
    return "open"


@probe
def ipc_of_host():
    checked(libc.shmget(T["shm"], 0, 0), "shmget")
    return "open"


# files ---------------------------------------------------------------------------------
@probe
def file_in_home():
    with open(T["home"] + "/secret") as file:
        return "open: " + file.read()


@probe
def file_next_to_a_writable_one():
    with open(T["beside"]) as file:
        return "open: " + file.read()


@probe
def secrets_of_the_system():
    with open("/etc/shadow") as file:
        return "open: " + file.read(1)


@probe
def accounts_of_the_system():
    with open("/etc/passwd") as file:
        return "open" if "daemon:" in file.read() else "none"


@probe
def machine_id():
    with open("/proc/sys/kernel/hostname") as file:
        if file.read().strip() == T["hostname"]:
            return "open: " + T["hostname"]
    return "none"


def writable(path):
    """Make a file without a name there: nothing stays, should it work."""
    os.close(os.open(path, os.O_TMPFILE | os.O_WRONLY))
    return "open"


@probe
def write_root():
    return writable("/")


@probe
def write_programs():
    return writable("/usr/bin")


@probe
def write_etc():
    return writable("/etc")


@probe
def write_dev():
    return writable("/dev")


@probe
def write_interpreter():
    return writable(sys.base_prefix)


@probe
def write_environment():
    return writable(T["environment"])


@probe
def write_home():
    return writable(T["home"])


@probe
def write_kernel_setting():
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "open"


@probe
def own_oom_score():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("0")
    return "open"


@probe
def host_disk():
    for path in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg", "/dev/kvm"):
        if os.path.exists(path):
            return f"open: {path}"
    return "none"


@probe
def make_device():
    with tempfile.TemporaryDirectory() as place:
        os.mknod(place + "/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.close(os.open(place + "/null", os.O_WRONLY))
    return "open"


@probe
def file_by_handle():
    handle = (ctypes.c_char * 136)(128)
    mount = ctypes.c_int()
    call("name_to_handle_at", 2**64 - 100, b"/usr", handle, ctypes.byref(mount), 0)
    root = os.open("/usr", os.O_RDONLY)
    try:
        os.close(call("open_by_handle_at", root, handle, os.O_RDONLY))
    finally:
        os.close(root)
    return "open"


# privileges ------------------------------------------------------------------------------
@probe
def root_identity():
    return "open" if os.getuid() == 0 else f"uid {os.getuid()}"


@probe
def become_root():
    return in_fork(lambda: os.setuid(0) or "open")


@probe
def become_another():
    return in_fork(lambda: os.setuid(12345) or "open")


@probe
def capabilities():
    with open("/proc/self/status") as file:
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
    bounding = int(status["CapBnd"], 16) | int(status["CapEff"], 16) | int(status["CapInh"], 16)
    new = status["NoNewPrivs"] == "0"
    return f"open: {bounding:x}, new privileges {new}" if bounding or new else "none"


@probe
def user_namespace():
    return in_fork(lambda: checked(libc.unshare(NEW_USER), "unshare") or "open")


@probe
def network_namespace():
    return in_fork(lambda: checked(libc.unshare(NEW_NET), "unshare") or "open")


@probe
def user_namespace_by_clone():
    pid = call("clone", NEW_USER | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "open"


@probe
def user_namespace_by_clone3():
    flags = (ctypes.c_uint64 * 8)(NEW_USER, 0, 0, 0, 17)
    pid = call("clone3", flags, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "open"


@probe
def mount():
    options = (b"none", tempfile.gettempdir().encode(), b"tmpfs", 0, b"size=4k")
    checked(libc.mount(*options), "mount")
    libc.umount2(options[1], 2)
    return "open"


@probe
def change_root():
    return in_fork(lambda: os.chroot(tempfile.gettempdir()) or "open")


@probe
def io_uring():
    os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(256)))
    return "open"


@probe
def key_ring():
    return f"open: {call('keyctl', 0, 2**64 - 4, 0)}"  # KEYCTL_GET_KEYRING_ID of the user


@probe
def keys_listed():
    with open("/proc/keys") as file:
        return "open: " + str(len(file.read()))


@probe
def kernel_log():
    checked(libc.klogctl(10, None, 0), "syslog")
    return "open"


# the process that all hangs from: these say nothing outside of a sandbox ----------------------
INSIDE_ONLY = ("first_environ", "first_memory", "first_descriptors", "first_traced")


@probe
def first_environ():
    with open("/proc/1/environ") as file:
        return "open: " + file.read(4)


@probe
def first_memory():
    with open("/proc/1/mem", "rb") as file:
        return "open" + str(file)


@probe
def first_descriptors():
    return "open: " + " ".join(os.listdir("/proc/1/fd"))


@probe
def first_traced():
    checked(libc.ptrace(16, 1, 0, 0), "ptrace")
    return "open"


def facts():
    """What else a test wants to know."""
    with open("/proc/self/mounts") as file:
        mounts = [line.split() for line in file]
    return {
        "user": [os.getuid(), os.getgid(), os.getgroups()],
        "descriptors": {
            n: outcome(lambda n=n: os.readlink(f"/proc/self/fd/{n}"))
            for n in os.listdir("/proc/self/fd")
        },
        "environment": dict(os.environ),
        "root": sorted(os.listdir("/")),
        "processes": len(list(filter(str.isdigit, os.listdir("/proc")))),
        "hostname": os.uname().nodename,
        "writable": [words[1] for words in mounts if "rw" in words[3].split(",")],
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES},
        "executable": sys.executable,
    }


def main(source, targets, deep):
    T.update(targets)
    report = {"code": {n: outcome(f) for n, f in PROBES.items()}, "facts": facts()}
    if deep:
        code = f"source = {source!r}; exec(source); main(source, {targets!r}, False)"
        command = [sys.executable, "-I", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        report["child"] = json.loads(done.stdout)["code"] if done.stdout else done.stderr
    print(json.dumps(report))
