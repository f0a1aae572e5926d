"""``python -m wscore.chat.schema``: the tables of the protocol, made of its types and docstrings.

Imports `protocol` only. Prints the document, or writes it to the file that is named.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec
from msgspec import inspect as types

from . import protocol

_HEAD = f"""# Messages of the chat protocol

This file is generated from the types in `wscore/chat/protocol` by `python -m wscore.chat.schema`.

The WebSocket is at `/ws`, its subprotocol `{protocol.SUBPROTOCOL}`. Every message is one JSON
object in one text message. `type` is in every message and is left out of the tables; a field
marked *optional* may be missing, and null is not the same. Unknown fields are ignored.

What server and clients promise each other with them is in [the rules](chat-rules.md)."""

_REPLIES: dict[str, type[protocol.Ok] | None] = {
    "hello": protocol.HelloOk,
    "rooms": protocol.RoomsOk,
    "join": protocol.JoinOk,
    "leave": protocol.Ok,
    "post": protocol.StoredOk,
    "direct": protocol.StoredOk,
    "history": protocol.HistoryOk,
    "ping": protocol.Ok,
    "typing": None,
}
_PUSHES = (
    protocol.MessagePush,
    protocol.DirectPush,
    protocol.PresencePush,
    protocol.TypingPush,
)
_PARTS: dict[type[msgspec.Struct], str] = {
    protocol.Position: "position",
    protocol.Inbox: "inbox",
    protocol.RoomInfo: "room",
    protocol.Limits: "limits",
}
Row = tuple[str, ...]


def document() -> str:
    """The whole document, in Markdown."""
    return "\n\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    yield _HEAD
    yield "## Requests"
    for kind in get_args(protocol.Request):
        tag = kind.__struct_config__.tag
        reply = _REPLIES[tag]
        answer = f"Reply: [{_title(reply)}](#{_anchor(reply)})." if reply else "No reply."
        yield f"### `{tag}`\n\n{_doc(kind)}\n\n{_fields(kind)}\n\n{answer}"
    yield "## Replies\n\nEach request but `typing` gets exactly one: an `ok` or an `error`."
    for kind in dict.fromkeys(reply for reply in _REPLIES.values() if reply):
        yield f"### {_title(kind)}\n\n{_doc(kind)}\n\n{_fields(kind)}"
    yield f"### `error`\n\n{_doc(protocol.Error)}\n\n{_fields(protocol.Error)}"
    yield "## Pushes"
    for push in _PUSHES:
        tag = push.__struct_config__.tag
        yield f"### push `{tag}`\n\n{_doc(push)}\n\n{_fields(push)}"
    yield "## Parts"
    for part, name in _PARTS.items():
        if part is not protocol.Limits:
            yield f"### *{name}*\n\n{_doc(part)}\n\n{_fields(part)}"
    yield f"### *limits*\n\n{_doc(protocol.Limits)}\n\n{_limits()}"
    errors = ((f"`{code}`", meaning) for code, meaning in protocol.ERRORS.items())
    yield "## Error codes\n\n" + _table(("code", "meaning"), errors)
    notes = _field_docs(protocol.CloseCode)
    codes = ((str(code.value), notes[code.name]) for code in protocol.CloseCode)
    yield "## Close codes\n\n" + _table(("code", "meaning, and what a client does"), codes)


def _title(reply: type[protocol.Ok]) -> str:
    requests = [f"`{request}`" for request, kind in _REPLIES.items() if kind is reply]
    return f"`ok` to {' and '.join(requests)}"


def _anchor(reply: type[protocol.Ok]) -> str:
    return _title(reply).replace("`", "").replace(" ", "-")


def _doc(kind: type) -> str:
    return textwrap.dedent(inspect.getdoc(kind) or "").replace("``", "`")


def _fields(kind: type[msgspec.Struct]) -> str:
    notes = _field_docs(kind)
    struct = types.type_info(kind)
    assert isinstance(struct, types.StructType)
    rows: list[Row] = []
    for field in struct.fields:
        # A reply's list of messages has a default in the type only.
        optional = not field.required and not _is_raw_list(field.type)
        shape = _shape(field.type) + (", optional" if optional else "")
        rows.append((f"`{field.encode_name}`", shape, notes[field.name]))
    return _table(("field", "type", "meaning"), rows)


def _limits() -> str:
    notes = _field_docs(protocol.Limits)
    rows: list[Row] = [
        (f"`{field.name}`", f"{field.default:,}", notes[field.name])
        for field in msgspec.structs.fields(protocol.Limits)
    ]
    return _table(("limit", "default", "meaning"), rows)


def _is_raw_list(kind: types.Type) -> bool:
    return isinstance(kind, types.CollectionType) and isinstance(kind.item_type, types.RawType)


def _shape(kind: types.Type) -> str:
    """A JSON type in words."""
    match kind:
        case types.StrType(min_length=1, max_length=None):
            return "string, not empty"
        case types.StrType(min_length=low, max_length=high):
            return f"string{_span(low, high, ' code points')}"
        case types.IntType(ge=low, le=high):
            return f"integer{_span(low, high, '')}"
        case types.FloatType():
            return "number"
        case types.BoolType():
            return "boolean"
        case types.NoneType():
            return "null"
        case types.LiteralType(values=(True,)):
            return "true"
        case types.LiteralType(values=values) if len(values) > 4:
            return "one of the error codes"
        case types.LiteralType(values=values):
            return " or ".join(f'`"{value}"`' for value in values)
        case types.RawType():
            return "*message* or *direct*"
        case types.CollectionType(item_type=item):
            return f"array of {_shape(item)}"
        case types.StructType(cls=part):
            return f"*{_PARTS[part]}*"
        case types.UnionType(types=several):
            return " or ".join(map(_shape, several))
    raise TypeError(f"no words for {kind}")


def _span(low: int | None, high: int | None, unit: str) -> str:
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f", at least {low}{unit}"
    shown = "2^53−1" if high == protocol.MAX_OFFSET else high
    return f", {low or 0}–{shown}{unit}"


def _field_docs(kind: type) -> dict[str, str]:
    """The docstring under each field or constant of a class, and of those that it inherits."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith(__package__):
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, note in zip(body.body, body.body[1:], strict=False):
            match field, note:
                case (
                    ast.AnnAssign(target=ast.Name(id=name))
                    | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the document, or write it to the one file that ``argv`` names; returns the status."""
    match sys.argv[1:] if argv is None else list(argv):
        case []:
            print(document(), end="")
        case [path] if not path.startswith("-"):
            Path(path).write_text(document(), encoding="utf-8")
        case _:
            print("usage: python -m wscore.chat.schema [FILE]", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
