"""What the property tests share: how many examples, JSON, and bytes cut anywhere."""

from __future__ import annotations

import itertools
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SCALE = int(os.environ.get("CODE_SANDBOXES_SOAK", "10"))
few = settings(
    max_examples=5 * SCALE,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def chunked(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """The same bytes, cut anywhere."""
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    return [whole[a:b] for a, b in itertools.pairwise([0, *cuts, len(whole)])]
