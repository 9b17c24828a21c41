"""The allowlist: a proxy in this process, at the other end of a sandbox's only way out."""

from collections.abc import Mapping

PORT = 3128  # of the sandbox's own loopback
HERE = "localhost,127.0.0.1,::1,0.0.0.0,sandbox"


def environment_upon(env: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """An environment with them, and without those of the host's proxies.

    Args:
        own: the caller's variables, which count for more.
    """
    theirs = {name.lower() for name in environment()} | {"pip_proxy"}
    kept = {n: v for n, v in env.items() if n in own or n.lower() not in theirs}
    return environment() | kept


def environment() -> dict[str, str]:
    """The variables by which programs know of the proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    proxy = dict.fromkeys([*names, *map(str.upper, names)], f"http://127.0.0.1:{PORT}")
    return proxy | {"no_proxy": HERE, "NO_PROXY": HERE}
