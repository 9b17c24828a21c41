"""The allowlist: a proxy in this process, at the other end of a sandbox's only way out."""

PORT = 3128  # of the sandbox's own loopback
HERE = "localhost,127.0.0.1,::1"


def environment() -> dict[str, str]:
    """The variables by which programs know of the proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    proxy = dict.fromkeys([*names, *map(str.upper, names)], f"http://127.0.0.1:{PORT}")
    return proxy | {"no_proxy": HERE, "NO_PROXY": HERE}
