"""What an ONNX file holds, read before ONNX Runtime sees it: only what our networks need.

ONNX can say far more than a network of this project needs: loops that never end, functions, parts
of other files, operators of other libraries. So a file is read field by field with a reader of the
protobuf wire format, and refused if it holds anything that is not listed here. Fields and numbers
are those of ``onnx.proto`` (ONNX IR versions 3 to 13); the wire format is the one of
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ser_stream.errors import BundleError

# The operators of our exports and of the shipped files. None contains a graph, reads a file or
# repeats anything, so a run ends.
OPERATORS = frozenset(
    (
        "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "Div",
        "Expand", "Gemm", "Greater", "LSTM", "LayerNormalization", "Less", "MatMul", "MaxPool",
        "Mod", "Mul", "Not", "Pad", "Pow", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum",
        "Relu", "Reshape", "Shape", "Sigmoid", "Sign", "Slice", "Softmax", "Split", "Sqrt",
        "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
    )
)  # fmt: skip
DOMAINS = ("", "ai.onnx")
# Of float32, int32, int64 and bool, by ONNX's number of the type.
ITEM_BYTES = {1: 4, 6: 4, 7: 8, 9: 1}
FLOAT = 1

# The largest of our networks has 7 MB and about 3000 fields.
MOST_BYTES = 256 * 2**20
MOST_FIELDS = 500_000
MOST_DIMENSIONS = 8
MOST_TEXT = 4_000_000

# Wire types.
VARINT, BYTES, BITS_32 = 0, 2, 5


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a message may have.

    Attributes:
        name: in ``onnx.proto``.
        wires: its wire types; two where repeated numbers may be packed.
        repeated: it may come more than once.
    """

    name: str
    wires: tuple[int, ...] = (BYTES,)
    repeated: bool = False


def _fields(text: str) -> dict[int, Field]:
    """Parse lines "number name kind"; the kind is bytes, int, float, with * where repeated."""
    wires = {"bytes": (BYTES,), "int": (VARINT,), "float": (BITS_32,)}
    result = {}
    for line in text.strip().splitlines():
        number, name, kind = line.split()
        repeated = kind.endswith("*")
        # Repeated numbers come one by one, or packed into bytes.
        also = (BYTES,) if repeated and kind != "bytes*" else ()
        result[int(number)] = Field(name, (*wires[kind.rstrip("*")], *also), repeated)
    return result


MODEL = _fields(
    """
    1 ir_version int
    2 producer_name bytes
    3 producer_version bytes
    4 domain bytes
    5 model_version int
    6 doc_string bytes
    7 graph bytes
    8 opset_import bytes*
    14 metadata_props bytes*
    """
)
OPSET = _fields("1 domain bytes\n2 version int")
ENTRY = _fields("1 key bytes\n2 value bytes")
GRAPH = _fields(
    """
    1 node bytes*
    2 name bytes
    5 initializer bytes*
    10 doc_string bytes
    11 input bytes*
    12 output bytes*
    13 value_info bytes*
    16 metadata_props bytes*
    """
)
NODE = _fields(
    """
    1 input bytes*
    2 output bytes*
    3 name bytes
    4 op_type bytes
    5 attribute bytes*
    6 doc_string bytes
    7 domain bytes
    9 metadata_props bytes*
    """
)
# Neither tensors nor graphs.
ATTRIBUTE = _fields(
    """
    1 name bytes
    2 f float
    3 i int
    4 s bytes
    7 floats float*
    8 ints int*
    9 strings bytes*
    13 doc_string bytes
    20 type int
    """
)
# Nothing that says where else the data are.
TENSOR = _fields(
    """
    1 dims int*
    2 data_type int
    4 float_data float*
    5 int32_data int*
    7 int64_data int*
    8 name bytes
    9 raw_data bytes
    12 doc_string bytes
    14 data_location int
    """
)
REFUSED = {
    ("model", 20): "training information",
    ("model", 25): "functions of its own",
    ("graph", 15): "sparse initialisers",
    ("attribute", 5): "a tensor in an attribute",
    ("attribute", 6): "a graph within a node",
    ("attribute", 10): "tensors in an attribute",
    ("attribute", 11): "graphs within a node",
    ("tensor", 13): "data outside of the file",
}


def read_metadata(data: bytes) -> dict[str, str]:
    """Check a whole file and return its metadata.

    Raises:
        BundleError: not ONNX, damaged, or it holds something that is not listed in this module.
    """
    if len(data) > MOST_BYTES:
        raise BundleError(f"{len(data)} bytes, {MOST_BYTES} at most")
    return _Reader().model(memoryview(data))


class _Reader:
    """Reads one file; the number of its fields is limited, and so is the time that it takes."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def model(self, data: memoryview) -> dict[str, str]:
        metadata: dict[str, str] = {}
        found = set()
        for name, value in self._message(data, "model", MODEL):
            found.add(name)
            if name == "graph":
                self._graph(_bytes(value))
            elif name == "opset_import":
                opset = dict(self._message(_bytes(value), "opset", OPSET))
                _check_domain(opset.get("domain", b""), "an operator set")
            elif name == "metadata_props":
                entry = dict(self._message(_bytes(value), "metadata", ENTRY))
                key = _text(entry.get("key", b""), "metadata")
                if key in metadata:
                    raise BundleError(f"its metadata has {key[:40]!r} twice")
                metadata[key] = _text(entry.get("value", b""), "metadata")
        if not found >= {"graph", "opset_import"}:
            raise BundleError("not ONNX: it has no graph or no operator set")
        return metadata

    def _graph(self, data: memoryview) -> None:
        for name, value in self._message(data, "graph", GRAPH):
            if name == "node":
                self._node(_bytes(value))
            elif name == "initializer":
                self._tensor(_bytes(value))

    def _node(self, data: memoryview) -> None:
        operator = ""
        for name, value in self._message(data, "node", NODE):
            if name == "op_type":
                operator = _text(value, "operator")
            elif name == "domain":
                _check_domain(value, "an operator")
            elif name == "attribute":
                for _ in self._message(_bytes(value), "attribute", ATTRIBUTE):
                    pass  # its fields are checked as they are read
        if operator not in OPERATORS:
            raise BundleError(
                f"it has the operator {operator[:40]!r}, which no model of ser-export has"
            )

    def _tensor(self, data: memoryview) -> None:
        dims: list[int] = []
        kind = items = 0
        raw: memoryview | None = None
        parts: list[memoryview] = []
        for name, value in self._message(data, "tensor", TENSOR):
            if name == "dims":
                dims += _integers(value, MOST_DIMENSIONS)
                if len(dims) > MOST_DIMENSIONS:
                    raise BundleError(f"it has more than {MOST_DIMENSIONS} dimensions somewhere")
            elif name == "data_type":
                kind = _integer(value)
            elif name == "data_location" and value != 0:
                raise BundleError("it has data outside of the file; export it as one file")
            elif name == "raw_data":
                raw = _bytes(value)
                parts.append(raw)
            elif name == "float_data":
                parts.append(_bytes(value))
                if len(parts[-1]) % 4:
                    raise BundleError("damaged: tensor.float_data is not as ONNX has it")
                items += len(parts[-1]) // 4
            elif name in ("int32_data", "int64_data"):
                items += 1 if isinstance(value, int) else _count(value)
        if kind not in ITEM_BYTES:
            raise BundleError(f"it has numbers of ONNX's type {kind}, which no model here has")
        count = math.prod(dims)
        found, wanted = (items, count) if raw is None else (len(raw), count * ITEM_BYTES[kind])
        if min(dims, default=0) < 0 or found != wanted or (raw is not None and items):
            raise BundleError(f"damaged: the data of an initialiser do not fit its shape {dims}")
        if kind == FLOAT and any(np.isnan(np.frombuffer(p, "<f4")).any() for p in parts):
            raise BundleError("damaged: its weights hold NaN")

    def _message(
        self, data: memoryview, what: str, known: dict[int, Field]
    ) -> Iterator[tuple[str, int | memoryview]]:
        """Name and value of each field: an integer, or the bytes of anything else.

        Raises:
            BundleError: damaged, a field that is not ``known``, or one that comes twice.
        """
        at, end = 0, len(data)
        seen: set[int] = set()
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise BundleError(f"it has more than {MOST_FIELDS} fields")
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            field = known.get(number)
            if field is None:
                if held := REFUSED.get((what, number)):
                    raise BundleError(f"it holds {held}, which no model of ser-export does")
                raise BundleError(f"not ONNX, or damaged (field {number} of its {what})")
            if wire not in field.wires or (number in seen and not field.repeated):
                raise BundleError(f"not ONNX, or damaged ({what}.{field.name})")
            seen.add(number)
            if wire == VARINT:
                value, at = _varint(data, at)
                yield field.name, value
                continue
            size, at = (4, at) if wire == BITS_32 else _varint(data, at)
            if size > end - at:
                raise BundleError(
                    "not ONNX, or damaged: it ends within a field; is the file whole?"
                )
            yield field.name, data[at : at + size]
            at += size


def _check_domain(value: int | memoryview | bytes, what: str) -> None:
    domain = _text(value, "domain")
    if domain not in DOMAINS:
        raise BundleError(f"it has {what} of the domain {domain[:40]!r}, which is not ONNX's own")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned integer of 64 bits, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise BundleError("not ONNX, or damaged: it ends within a number; is the file whole?")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BundleError("damaged: a number of more than 64 bits")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise BundleError("damaged: a number in place of a message")
    return value


def _integer(value: int | memoryview) -> int:
    """A signed integer of 64 bits."""
    if not isinstance(value, int):
        raise BundleError("damaged: a message in place of a number")
    return value - 2**64 if value >= 2**63 else value


def _integers(value: int | memoryview, most: int) -> list[int]:
    """One integer, or several that are packed; not many more than ``most``."""
    if isinstance(value, int):
        return [_integer(value)]
    result, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        result.append(_integer(number))
        if len(result) > most:
            break
    return result


def _count(packed: memoryview) -> int:
    """How many integers are packed: the last byte of each is less than 128."""
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < 128))


def _text(value: int | memoryview | bytes, what: str) -> str:
    data = value if isinstance(value, bytes) else bytes(_bytes(value))
    if len(data) > MOST_TEXT:
        raise BundleError(f"its {what} has {len(data)} bytes, {MOST_TEXT} at most")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"damaged: its {what} is not UTF-8") from error
