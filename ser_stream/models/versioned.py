"""The tables that model files carry: typed values as one versioned JSON value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from ser_stream.errors import BundleError, ConfigError
from ser_stream.typed import parse_json, typed


@dataclass(frozen=True, slots=True)
class VersionedTable:
    """What a model file says about itself; derived dataclasses name its fields.

    Attributes:
        SCHEMA: version of the fields, which the file names.
    """

    SCHEMA: ClassVar[int] = 1

    def check(self) -> None:
        """See to it that plain values of a table that was read have the form they should have.

        Raises:
            ConfigError: one has not.
        """

    def to_json(self) -> str:
        """One versioned JSON value, the inverse of `from_json`."""
        return json.dumps({"schema": self.SCHEMA, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse metadata.

        Raises:
            BundleError: not JSON, another schema, or a field that is missing or makes no sense.
        """
        table = _fields(text, cls.SCHEMA)
        try:
            value = typed(table, cls)
            value.check()
        except ConfigError as error:
            raise BundleError(f"its metadata does not fit schema {cls.SCHEMA}: {error}") from error
        return value


def _fields(text: str, schema: int) -> dict[str, Any]:
    try:
        table = parse_json(text)
    except ConfigError as error:
        raise BundleError(f"its metadata cannot be used: {error}") from error
    if "schema" not in table:
        raise BundleError("its metadata carries no schema version")
    found = table.pop("schema")
    if type(found) is not int or found != schema:
        raise BundleError(
            f"its metadata has schema {found!r}, this version reads {schema}; "
            "export it again with ser-export, or update ser-stream"
        )
    return table
