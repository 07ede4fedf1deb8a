# SPDX-License-Identifier: Apache-2.0
"""Payload layouts as data: a body is a frozen dataclass whose annotations are its wire format.

Fields are little-endian and packed in the order written. The last field may be a tail: bytes, or integers of one width;
when `counted` names an earlier field, the tail's element count must equal it.
"""

import struct
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Fixed:
    """One little-endian integer, or `size` raw bytes when `code` is 's'."""

    code: str
    size: int


@dataclass(frozen=True)
class Tail:
    """What follows the fixed part: elements of `width` bytes."""

    width: int
    counted: str = ""
    optional: bool = False  # a counted tail that may also be absent


U16 = Annotated[int, Fixed("H", 2)]
U32 = Annotated[int, Fixed("I", 4)]
U64 = Annotated[int, Fixed("Q", 8)]
Identity = Annotated[bytes, Fixed("16s", 16)]


class Malformed(ValueError):
    """The payload does not have the layout; the text says how."""


class Body:
    """Base of every payload. Class attributes say which message it belongs to (see `codec`)."""

    NAME: ClassVar[str] = ""
    MSG_ID: ClassVar[int] = -1
    BUS: ClassVar[bool] = False
    RESPONSE: ClassVar[bool] = False

    _packer: ClassVar[struct.Struct | None] = None
    _tail: ClassVar[tuple[str, Tail] | None] = None
    _names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def wire(cls) -> list[tuple[str, Fixed | Tail]]:
        """The layout, field by field."""
        hints = get_type_hints(cls, include_extras=True)
        layout = []
        for item in fields(cls):  # type: ignore[arg-type]
            hint = hints[item.name]
            if get_origin(hint) is not Annotated:
                raise TypeError(f"{cls.__name__}.{item.name} has no wire format")
            layout.append((item.name, get_args(hint)[1]))
        return layout

    @classmethod
    def _compile(cls) -> struct.Struct:
        if "_packer" in cls.__dict__ and cls._packer is not None:
            return cls._packer
        layout = cls.wire()
        fixed = [(name, kind) for name, kind in layout if isinstance(kind, Fixed)]
        tails = [(name, kind) for name, kind in layout if isinstance(kind, Tail)]
        cls._names = tuple(name for name, _ in fixed)
        cls._tail = tails[0] if tails else None
        cls._packer = struct.Struct("<" + "".join(kind.code for _, kind in fixed))
        return cls._packer

    @classmethod
    def fixed_size(cls) -> int:
        return cls._compile().size

    def encode(self) -> bytes:
        packer = self._compile()
        head = packer.pack(*(getattr(self, name) for name in self._names))
        if self._tail is None:
            return head
        name, tail = self._tail
        value = getattr(self, name)
        return head + (bytes(value) if tail.width == 1 else struct.pack(f"<{len(value)}{_CODES[tail.width]}", *value))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises `Malformed`; whatever it returns encodes to the same bytes."""
        packer = cls._compile()
        if len(payload) < packer.size or (cls._tail is None and len(payload) > packer.size):
            raise Malformed(f"{cls.NAME} takes {packer.size} bytes, got {len(payload)}")
        values: dict[str, Any] = dict(zip(cls._names, packer.unpack_from(payload), strict=True))
        if cls._tail is not None:
            name, tail = cls._tail
            values[name] = _decode_tail(cls.NAME, tail, payload[packer.size :], values)
        return cls(**values)


_CODES = {2: "H", 4: "I"}


def _decode_tail(name: str, tail: Tail, data: bytes, values: dict[str, Any]) -> bytes | tuple[int, ...]:
    count, rest = divmod(len(data), tail.width)
    if rest:
        raise Malformed(f"{name}: {len(data)} trailing bytes are not a multiple of {tail.width}")
    if tail.counted and count != values[tail.counted] and not (tail.optional and count == 0):
        raise Malformed(f"{name}: {tail.counted} says {values[tail.counted]}, but {count} follow")
    return bytes(data) if tail.width == 1 else struct.unpack(f"<{count}{_CODES[tail.width]}", data)
