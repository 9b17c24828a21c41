"""Python values as JSON, there and back: what the host and the sandbox both run.

The host imports this module; its source is also sent into sandboxes, so it uses the standard
library alone, and whatever of Pillow, numpy and pandas is already in use there. Values travel as
JSON with tags. What comes out of a sandbox is hostile: nothing in it names a class to look up or
code to run. Only a sandbox is given pickles, and it is the only side that has `unpickle`.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import math
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

TAG = "__tagged__"
MAX_PIXELS = 25_000_000
ARRAY_KINDS = "biufcSUmM"  # numbers, text, times: types whose bytes are only data
PLAIN = (type(None), bool, int, str)
CONTAINERS: dict[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_SHAPES: list[tuple[Any, type]] = [
    *((kind, kind) for kind in (int, float, str, bytes)),
    ((bytearray, memoryview), bytes),
    (Mapping, dict),
    (Set, set),
    (tuple, tuple),
    (Sequence, list),
]


def encode(value: Any, pickled: Callable[[Any], bytes] | None = None) -> Any:
    """`value` as JSON that `decode` turns back.

    Args:
        value: builtin values, dates, paths, images, arrays, tables; without `pickled` also what is
            close to one of them (a namedtuple becomes a tuple, a defaultdict a dict).
        pickled: how to send all but builtin values; only for what goes into a sandbox.

    Raises:
        TypeError: the value cannot be sent.
    """
    kind = type(value)
    if kind in PLAIN or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [encode(item, pickled) for item in value]
    if kind is dict and TAG not in value and all(type(key) is str for key in value):
        return {key: encode(item, pickled) for key, item in value.items()}
    tagged = _builtin(value, kind, pickled)
    if tagged is None:
        tagged = ("pickle", _text(pickled(value))) if pickled else _library(value)
    return _similar(value) if tagged is None else {TAG: tagged[0], "v": tagged[1]}


def _builtin(value: Any, kind: type, pickled: Any) -> tuple[str, Any] | None:
    if kind is float:
        return "float", repr(value)
    if kind in CONTAINERS.values():
        return kind.__name__, [encode(item, pickled) for item in value]
    if kind is dict:
        return "dict", [
            [encode(key, pickled), encode(item, pickled)] for key, item in value.items()
        ]
    if kind is bytes:
        return "bytes", _text(value)
    if kind is complex:
        return "complex", [encode(value.real), encode(value.imag)]
    if kind in (datetime.datetime, datetime.date, datetime.time):
        return kind.__name__, value.isoformat()
    if kind is datetime.timedelta:
        return "timedelta", [value.days, value.seconds, value.microseconds]
    if kind is decimal.Decimal:
        return "decimal", str(value)
    if isinstance(value, pathlib.Path):
        return "path", str(value)
    return None


def _library(value: Any) -> tuple[str, Any] | None:
    """Values of packages that are in use, so that none is imported for this."""
    if (pil := sys.modules.get("PIL.Image")) and isinstance(value, pil.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return "image", _text(buffer.getvalue())
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy and isinstance(value, numpy.generic) and value.dtype.kind in "biufc":
        return "scalar", encode(value.item())
    if numpy and isinstance(value, numpy.ndarray) and value.dtype.kind in ARRAY_KINDS:
        return "array", [value.dtype.str, list(value.shape), _text(value.tobytes())]
    if pandas and isinstance(value, pandas.Series):
        return "series", [encode(value.name), encode(list(value.index)), _column(value)]
    if pandas and isinstance(value, pandas.DataFrame):
        columns = [_column(value.iloc[:, at]) for at in range(value.shape[1])]
        return "table", [encode(list(value.columns)), encode(list(value.index)), columns]
    return None


def _column(series: Any) -> Any:
    array = series.to_numpy()
    return encode(array if array.dtype.kind in ARRAY_KINDS else series.tolist())


def _similar(value: Any) -> Any:
    """What is not one of the known types, but close to one."""
    if isinstance(value, datetime.date):  # pandas' Timestamp is one, and so is its NaT
        day = datetime.datetime if isinstance(value, datetime.datetime) else datetime.date
        return encode(day.fromisoformat(value.isoformat()) if value == value else None)
    for base, shape in _SHAPES:
        if isinstance(value, base):
            return encode(shape(value))
    if hasattr(value, "__array__") and "numpy" in sys.modules:
        array = value.__array__()
        if array.dtype.kind in ARRAY_KINDS:
            return encode(array)
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise TypeError(
        f"a {name} cannot leave the sandbox; make it text, numbers, bytes, a list, a dict, "
        "an array, a table or an image, or write it to a file"
    )


def decode(value: Any, unpickle: Callable[[bytes], Any] | None = None) -> Any:
    """The value that `encode` was given.

    Args:
        value: JSON.
        unpickle: only inside a sandbox.

    Raises:
        ValueError: it is not what `encode` makes.
    """
    if isinstance(value, list):
        return [decode(item, unpickle) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode(item, unpickle) for key, item in value.items()}
    tag, content = value[TAG], value["v"]
    if tag == "pickle" and unpickle is not None:
        return unpickle(_bytes(content))
    if tag in CONTAINERS:
        return CONTAINERS[tag](decode(content, unpickle))
    if tag == "dict":
        return {decode(key, unpickle): decode(item, unpickle) for key, item in content}
    if tag not in _DECODERS:
        raise ValueError(f"no value is tagged {tag!r}")
    return _DECODERS[tag](content)


def _image(content: str) -> Any:
    import PIL.Image

    image = PIL.Image.open(io.BytesIO(_bytes(content)), formats=["PNG"])
    if image.width * image.height > MAX_PIXELS:
        raise ValueError("the image has too many pixels")  # which a few kilobytes can claim
    image.load()
    return image


def _array(content: list[Any]) -> Any:
    import numpy

    dtype, shape, data = numpy.dtype(str(content[0])), content[1], _bytes(content[2])
    if dtype.kind not in ARRAY_KINDS:
        raise ValueError(f"no array of {dtype}")
    return numpy.frombuffer(data, dtype).reshape(shape).copy()


def _series(content: list[Any]) -> Any:
    import pandas  # type: ignore[import-untyped]

    name, index, values = map(decode, content)
    return pandas.Series(values, index=index, name=name)


def _table(content: list[Any]) -> Any:
    import pandas

    names, index, columns = map(decode, content)
    table = pandas.DataFrame(dict(enumerate(columns)), index=index)
    table.columns = pandas.Index(names)
    return table


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "bytes": _bytes,
    "complex": lambda parts: complex(*map(decode, parts)),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
    "decimal": decimal.Decimal,
    "path": pathlib.Path,
    "scalar": decode,
    "image": _image,
    "array": _array,
    "series": _series,
    "table": _table,
}
