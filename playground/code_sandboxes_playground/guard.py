"""Who may talk to the server: only a browser that was given the token, and only its own page."""

from __future__ import annotations

import asyncio
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REFUSAL = (
    "This playground runs code, so it needs the link with the token that its terminal shows.\n"
)
# Gradio compiles its templates in the page, hence the unsafe-* for scripts of our own origin
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; frame-src 'self'; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'"
)


class Guard:
    """An ASGI middleware: a token in the link becomes a cookie, and all else needs the cookie.

    A request that another page causes is refused by its ``Origin``, the cookie notwithstanding:
    cookies do not tell the ports of one machine apart, and code in a sandbox can serve pages.

    Once `stopping` is set, every request that still waits is told that its client has left: the
    streams that Gradio keeps open for each page would hold up the end of the server.

    Args:
        app: what it guards.
        token: the secret.
        name: of the cookie; one for each server of this machine.

    Example:
        >>> Guard(lambda scope, receive, send: None, token="secret", name="x").token
        'secret'
    """

    def __init__(self, app: ASGIApp, *, token: str, name: str) -> None:
        self.app, self.token, self.name = app, token, name
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._own(headers):
            await _refuse(scope, receive, send)
        elif self._same(_asked(scope)):
            await self._welcome(scope, receive, send)
        elif self._same(_cookie(headers, self.name)):
            await self.app(scope, self._until_stop(receive), _hardened(send))
        else:
            await _refuse(scope, receive, send)

    def _until_stop(self, receive: Receive) -> Receive:
        async def received() -> Message:
            arriving = asyncio.ensure_future(receive())
            stopping = asyncio.ensure_future(self.stopping.wait())
            try:
                await asyncio.wait((arriving, stopping), return_when=asyncio.FIRST_COMPLETED)
                return arriving.result() if arriving.done() else {"type": "http.disconnect"}
            finally:
                arriving.cancel()
                stopping.cancel()

        return received

    def _same(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    @staticmethod
    def _own(headers: Headers) -> bool:
        """Whether no other page caused the request."""
        origin = headers.get("origin")
        return origin is None or origin.partition("://")[2] == headers.get("host")

    async def _welcome(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep the token in a cookie and take it out of the address."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        query.pop("token", None)
        rest = urlencode(query, doseq=True)
        response = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), status_code=303)
        response.set_cookie(self.name, self.token, httponly=True, samesite="lax")
        response.headers["referrer-policy"] = "no-referrer"
        await response(scope, receive, send)


def _cookie(headers: Headers, name: str) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return str(cookies[name].value) if name in cookies else ""


def _asked(scope: Scope) -> str:
    if scope["type"] != "http" or scope["method"] != "GET":
        return ""
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


def _hardened(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = _POLICY
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
        await send(message)

    return sent


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(_REFUSAL, status_code=403)(scope, receive, send)
