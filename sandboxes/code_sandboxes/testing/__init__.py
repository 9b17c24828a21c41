"""What every variant must do, as a pytest suite to subclass.

::

    from code_sandboxes.testing import Conformance

    class TestMyVariant(Conformance):
        variant = "my-variant"

`Hostile` has the cases for hostile code, and is used in the same way.

Cases that need a capability which the variant does not claim are skipped with its reason.
Needs pytest.
"""

from .attack_cases import AttackCases
from .base import Case
from .code_cases import CodeCases
from .command_cases import CommandCases
from .context_cases import ContextCases
from .file_cases import FileCases
from .flood_cases import FloodCases
from .forged_cases import ForgedCases
from .host_call_cases import HostCallCases
from .hostile_cases import HostileCases
from .keeping_cases import KeepingCases
from .lifetime_cases import LifetimeCases
from .package_cases import PackageCases
from .stopping_cases import StoppingCases

__all__ = ["Case", "Conformance", "Hostile"]


class Conformance(
    CodeCases,
    StoppingCases,
    HostCallCases,
    ContextCases,
    FileCases,
    CommandCases,
    PackageCases,
    LifetimeCases,
    KeepingCases,
):
    """What every variant must do. Set `variant`, and `options` for `Sandbox.create`."""


class Hostile(HostileCases, FloodCases, AttackCases, ForgedCases):
    """What hostile and odd code must not do: for a variant that starts its own interpreters."""
