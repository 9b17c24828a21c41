"""Values across the boundary, without one: `encode` on the one side, `decode` on the other."""

from __future__ import annotations

import base64
import collections
import doctest
import enum
import importlib
import io
import json
import pickle
from typing import Any

import numpy
import pandas
import PIL.Image
import pytest

from code_sandboxes_integrations._values import decode, encode


class Colour(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


def sent(value: Any) -> Any:
    """`value` as the host gets it from a sandbox."""
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Point(1, 2), (1, 2)),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (Colour.RED, 1),
        (range(3), [0, 1, 2]),
        ({1: 0}.keys(), {1}),
        (bytearray(b"x"), b"x"),
        (numpy.float32(1.5), 1.5),
        (numpy.bool_(True), True),
        (pandas.Timestamp("2026-01-02"), pandas.Timestamp("2026-01-02").to_pydatetime()),
        (pandas.NaT, None),
    ],
)
def test_what_is_close_to_a_known_type_arrives_as_it(value: Any, arrives: Any) -> None:
    assert (type(sent(value)), sent(value)) == (type(arrives), arrives)


def test_tables_of_all_kinds() -> None:
    table = pandas.DataFrame(
        {
            "number": [1.5, float("nan")],
            "text": ["a", None],
            "when": pandas.to_datetime(["2026-01-01", None]),
            "mixed": [(1,), {"k": b"v"}],
        },
        index=pandas.Index(["i", "j"]),
    )
    pandas.testing.assert_frame_equal(sent(table), table)
    twice = pandas.DataFrame([[1, 2]], columns=["same", "same"])
    pandas.testing.assert_frame_equal(sent(twice), twice)
    pandas.testing.assert_series_equal(sent(table["number"]), table["number"])
    assert sent(numpy.array(["2026-01-01"], "M8[D]"))[0] == numpy.datetime64("2026-01-01")


@pytest.mark.parametrize("value", [object(), lambda: 1, iter([1]), numpy.array([object()])])
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot leave the sandbox"):
        encode(value)


def test_only_a_sandbox_opens_pickles() -> None:
    pickled = encode(slice(1, 2), pickle.dumps)
    with pytest.raises(ValueError, match="no value is tagged 'pickle'"):
        decode(pickled)
    assert decode(pickled, pickle.loads) == slice(1, 2)


def _packed(kind: str, value: Any) -> dict[str, Any]:
    return {"__tagged__": kind, "v": value}


def _bomb() -> str:
    buffer = io.BytesIO()
    PIL.Image.new("1", (6000, 6000)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "hostile",
    [
        _packed("object", "os.system"),
        _packed("array", ["O", [1], "AAAAAAAAAAA="]),
        _packed("array", ["<f8", [3], ""]),
        _packed("image", "bm8gaW1hZ2U="),
        _packed("image", _bomb()),
        _packed("dict", [[[], 1]]),
        _packed("set", [[1]]),
        {"__tagged__": ["list"], "v": 1},
        {"__tagged__": "float"},
    ],
)
def test_what_encode_does_not_make_is_refused(hostile: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, OSError)):
        decode(hostile)


@pytest.mark.parametrize("name", ["_render", "smolagents", "langchain", "pydantic_ai"])
def test_the_examples_are_right(name: str) -> None:
    module = importlib.import_module(f"code_sandboxes_integrations.{name}")
    tested = doctest.testmod(module)
    assert (tested.failed, tested.attempted > 0) == (0, True)
