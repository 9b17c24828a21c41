"""Only a browser that was given the token gets in, and only through its own page."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from code_sandboxes_playground.guard import Guard

HOST = "127.0.0.1:7860"


async def _inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(
    path: str = "/", *, query: str = "", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []
    given = {"host": HOST, **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(_inner, token="secret", name="jar")(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(m.get("body", b"") for m in sent[1:])


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/queue/join", "/theme.css"])
@pytest.mark.parametrize(
    "cookie", ["", "jar=wrong", "other=secret", "jar=secret2", 'jar="', "jar="]
)
def test_nothing_without_the_token(path: str, cookie: str) -> None:
    for method in ("GET", "POST"):
        status, _, body = ask(path, method=method, cookie=cookie)
        assert status == 403
        assert b"page" not in body


def test_the_cookie_opens() -> None:
    status, headers, body = ask(cookie="a=b; jar=secret")
    assert (status, body) == (200, b"the page")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_the_link_gives_the_cookie_and_leaves_the_address() -> None:
    status, headers, _ = ask(query="token=secret&variant=x")
    assert (status, headers["location"]) == (303, "/?variant=x")
    cookie = headers["set-cookie"].lower()
    assert cookie.startswith("jar=secret;")
    assert "httponly" in cookie and "samesite=lax" in cookie


@pytest.mark.parametrize("query", ["token=wrong", "token=", "token", "token=secre", "token=%ff"])
def test_a_wrong_link_gives_nothing(query: str) -> None:
    status, headers, _ = ask(query=query)
    assert status == 403
    assert "set-cookie" not in headers


def test_the_token_is_taken_from_links_only() -> None:
    assert ask(method="POST", query="token=secret")[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9999", "http://localhost:7860", "null", ""]
)
def test_other_pages_cannot_use_the_cookie(origin: str) -> None:
    """Cookies do not tell ports apart: what code in a sandbox serves is another page."""
    assert ask(method="POST", origin=origin, cookie="jar=secret")[0] == 403
    assert ask(query="token=secret", origin=origin)[0] == 403


def test_its_own_page_can() -> None:
    assert ask(method="POST", origin=f"http://{HOST}", cookie="jar=secret")[0] == 200
