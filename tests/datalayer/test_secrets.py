"""The key of the account and the token of a runtime: where they are needed, and nowhere else."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from code_sandboxes import CloudError, CredentialsError, Sandbox, SandboxError
from code_sandboxes.variants.datalayer.failures import failure, message
from datalayer.service import VARIANT, paid
from datalayer_emulator import Emulator

LOOK = """
import os, sys, pathlib
seen = [repr(globals()), repr(dict(os.environ)), repr(sys.argv)]
for entry in pathlib.Path('/proc').iterdir():
    for name in ('environ', 'cmdline'):
        try: seen.append((entry / name).read_bytes().decode(errors='replace'))
        except OSError: pass
for folder in (pathlib.Path.home(), pathlib.Path('/data'), pathlib.Path('/workspace')):
    for path in folder.rglob('*'):
        if path.is_file(): seen.append(path.read_text(errors='replace'))
print(''.join(seen))
"""


def test_they_are_nowhere(
    cloud: Emulator, caplog: pytest.LogCaptureFixture, state_directory: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    with Sandbox.create(VARIANT, tags={"a": "b"}) as box:
        secrets = [cloud.key, paid(cloud)[0]["token"]]
        variant = box._core.variant
        parts = [box, box.config, variant, variant.__dict__, Sandbox.list()]  # type: ignore
        parts += [box.run_code("1"), box.run_code("1/0"), box.commands.run("false")]
        seen = repr(parts)
        assert len(list(state_directory.rglob("*.json"))) > 0
        seen += "".join(path.read_text() for path in state_directory.rglob("*.json"))
        inside = box.run_code(LOOK, timeout=60)
        assert inside.success, inside
        assert "CODE_SANDBOXES_ID" in inside.stdout
        assert cloud.key not in inside.stdout + inside.stderr
        assert "DATALAYER_" not in box.run_code("import os; dict(os.environ)").text
        for secret in secrets:
            assert secret not in box.run_code("import os; (dict(os.environ), globals())").text
            assert secret not in box.commands.run("env").stdout
    logs = "".join(record.getMessage() + str(record.exc_info) for record in caplog.records)
    assert "/api/runtimes/v1/runtimes" in logs  # the transport does say what it asks for
    for secret in secrets:
        assert secret not in seen + logs


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500])
def test_a_service_that_repeats_the_key(cloud: Emulator, status: int) -> None:
    """What it says becomes part of an error; what is chained to an error is shown, too."""
    said = f'{{"success": false, "message": "no: {cloud.key}\\u001b[31m, {cloud.key}"}}'
    with pytest.MonkeyPatch.context() as patch:
        from datalayer_emulator.api import Api

        def say(self: Api, *_: object) -> None:
            self.set_status(status)
            self.finish(said)

        patch.setattr(Api, "say", say)
        patch.setattr("code_sandboxes.variants.datalayer.client.PAUSES", (0.0, 0.0))
        calls: list[Callable[[], object]] = [
            lambda: Sandbox.create(VARIANT),
            lambda: Sandbox.list_snapshots(VARIANT),
            lambda: Sandbox.from_id("sb-000000000000"),
        ]
        for call in calls:
            with pytest.raises(SandboxError) as raised:
                call()
            shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
            assert cloud.key not in shown
            assert "\x1b" not in str(raised.value)


def test_what_a_failure_says() -> None:
    assert message('{"detail": "a secret b"}', "secret") == "a [the key] b"
    assert message("<html>secret</html>", "secret") == ""
    assert message('["secret"]', "secret") == ""
    assert len(message("x" * 10_000, "secret")) <= 300
    expired = failure("do it", 401, "Token has expired")
    assert isinstance(expired, CredentialsError)
    assert "has expired" in str(expired)
    assert str(failure("do it", 418, "")) == "Datalayer's service did not do it (HTTP 418)"
    assert isinstance(failure("do it", 501, ""), CloudError)
    assert isinstance(failure("do it", 503, ""), ConnectionError)
    assert failure("do it", 503, "").status == 503
