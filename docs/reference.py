"""The references that are made from structs: messages of the protocol, keys of the configuration."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import msgspec
from msgspec import inspect as types

from carlad import messages, spaces, toml
from carlad.config import Config

ROOT = Path(__file__).resolve().parents[1]
_UNION_MAX = 5  # members that are worth listing


def requests() -> Iterator[str]:
    """What clients ask, by kind, with every field."""
    for title, group in (
        ("Leases", messages.LeaseRequest),
        ("Sessions", messages.SessionRequest),
        ("Questions", _others(messages.RequestBody)),
        ("The operator", messages.OperatorRequest),
    ):
        yield f"### {title}"
        yield ""
        for struct in _members(group):
            yield from _struct(struct)


def replies() -> Iterator[str]:
    """What the daemon answers, and the structs that answers are made of."""
    tops = _members(messages.ReplyBody)
    for struct in tops:
        yield from _struct(struct)
    yield "### Parts of answers"
    yield ""
    for struct in _parts((messages.Holder, *tops), known={messages.Notice, *tops}):
        yield from _struct(struct)


def envelopes() -> Iterator[str]:
    """The two frames' outermost structs, and the notice."""
    for struct in (messages.Request, messages.Reply, messages.Notice):
        yield from _struct(struct)


def refusals() -> Iterator[str]:
    """Every code of `Refused`, with the comment behind it."""
    source = inspect.getsource(messages)
    yield "| code | why |"
    yield "| --- | --- |"
    for code in get_args(messages.RefusalCode):
        found = re.search(rf'^    "{code}",(?:  # (.*))?$', source, re.MULTILINE)
        assert found is not None, code
        yield f"| `{code}` | {_cell(found[1] or 'there is none of that number')} |"


def limits() -> Iterator[str]:
    """What all that is asked has to keep to."""
    for name, meaning in (
        ("PROTOCOL_VERSION", "`version` of every request"),
        ("REQUEST_BYTES_MAX", "bytes of a request"),
        ("LOG_LINES_MAX", "lines of one answer to `LogsQuery`"),
        ("WAIT_MAX_S", "seconds of `wait_s`"),
        ("PRIORITY_MAX", "the highest `priority`"),
    ):
        yield f"- {meaning}: {getattr(messages, name):g}"


def configuration() -> Iterator[str]:
    """Every key: type and default out of the structs, meaning out of the comments of carlad.toml."""
    meanings = dict(_meanings((ROOT / "carlad.toml").read_text()))
    for section in msgspec.structs.fields(Config):
        yield f"## [{section.name}]"
        yield ""
        yield _prose(section.type)
        yield ""
        yield "| key | default | allowed | |"
        yield "| --- | --- | --- | --- |"
        for field in msgspec.structs.fields(section.type):
            key = f"{section.name}.{field.name}"
            default = toml.dumps_value(msgspec.to_builtins(_default(field)))
            allowed = _type(types.type_info(field.type))
            yield f"| `{field.name}` | `{_cell(default)}` | {_cell(allowed)} | {_cell(meanings[key])} |"
        yield ""


def _meanings(text: str) -> Iterator[tuple[str, str]]:
    """`section.key` and the comment above it; keys below one comment share it."""
    section, comment, is_fresh = "", [], False
    for line in text.splitlines():
        if line.startswith("#"):
            comment = [*comment, line.lstrip("# ")] if is_fresh else [line.lstrip("# ")]
            is_fresh = True
        elif found := re.match(r"\[(\w+)\]", line):
            section, comment = found[1], []
        elif found := re.match(r"(\w+) = ", line):
            yield f"{section}.{found[1]}", " ".join(comment)
            is_fresh = False


def _members(union: Any) -> tuple[type[msgspec.Struct], ...]:
    return get_args(union) if isinstance(union, UnionType) else tuple(union)


def _others(union: Any) -> list[type[msgspec.Struct]]:
    """Of all requests those that are neither about leases nor sessions nor the operator's."""
    named = {
        *_members(messages.LeaseRequest),
        *_members(messages.SessionRequest),
        *_members(messages.OperatorRequest),
    }
    return [struct for struct in _members(union) if struct not in named]


def _parts(tops: tuple[type[msgspec.Struct], ...], known: set[type]) -> Iterator[type[msgspec.Struct]]:
    """Structs inside `tops`, each once, in the order in which they are met."""
    for struct in tops:
        if struct not in known:
            known.add(struct)
            yield struct
        for field in msgspec.structs.fields(struct):
            inside = tuple(_structs(types.type_info(field.type)))
            yield from _parts(tuple(found for found in inside if found not in known), known)


def _structs(info: types.Type) -> Iterator[type[msgspec.Struct]]:
    match info:
        case types.StructType(cls):
            yield cls
        case types.UnionType(several):
            for one in several:
                yield from _structs(one)
        case types.VarTupleType(item) | types.ListType(item):
            yield from _structs(item)
        case types.DictType(_, value):
            yield from _structs(value)
        case types.Metadata(inner):
            yield from _structs(inner)


def _struct(struct: type[msgspec.Struct]) -> Iterator[str]:
    yield f"#### {struct.__name__}"
    yield ""
    if words := _prose(struct):
        yield words
        yield ""
    if tag := struct.__struct_config__.tag:
        yield f'`type`: `"{tag}"`'
        yield ""
    fields = msgspec.structs.fields(struct)
    if not fields:
        return
    comments = _comments(struct)
    yield "| field | type | default | |"
    yield "| --- | --- | --- | --- |"
    for field in fields:
        kind = _cell(_type(types.type_info(field.type)))
        default = "required" if field.required else f"`{_cell(_json(_default(field)))}`"
        yield f"| `{field.encode_name}` | {kind} | {default} | {_cell(comments.get(field.name, ''))} |"
    yield ""


def _comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What stands behind fields in the source."""
    return dict(re.findall(r"^    (\w+):.*  # (.*)$", inspect.getsource(struct), re.MULTILINE))


def _prose(struct: type) -> str:
    return " ".join((struct.__doc__ or "").split())


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _type(info: types.Type) -> str:
    """In words."""
    match info:
        case types.IntType() | types.FloatType():
            word = "integer" if isinstance(info, types.IntType) else "number"
            bounds = [
                f"{sign} {bound:g}"
                for sign, bound in ((">", info.gt), ("≥", info.ge), ("<", info.lt), ("≤", info.le))
                if bound is not None
            ]
            return " ".join([word, ", ".join(bounds)]) if bounds else word
        case types.StrType():
            if info.pattern:
                return f"text like `{info.pattern}`"
            if info.max_length:
                return f"text, {info.min_length or 0} to {info.max_length} characters"
            return "text"
        case types.BoolType():
            return "true or false"
        case types.NoneType():
            return "null"
        case types.AnyType():
            return "anything"
        case types.LiteralType(values):
            return ", ".join(f"`{_json(value)}`" for value in values)
        case types.VarTupleType(item) | types.ListType(item):
            return f"list of {_type(item)}"
        case types.TupleType(items):
            return "list of " + " and ".join(_type(item) for item in items)
        case types.DictType(_, value):
            return f"table of {_type(value)}"
        case types.StructType(cls):
            return (
                f"[{cls.__name__}](#{cls.__name__.lower()})" if _is_message(cls) else f"table: {_keys(cls)}"
            )
        case types.UnionType(several) if len(several) > _UNION_MAX:
            return "one of those below"
        case types.UnionType(several):
            return " or ".join(_type(one) for one in several)
        case types.Metadata(inner):
            return _type(inner)
    raise ValueError(f"no words for {info}")


def _is_message(struct: type) -> bool:
    return struct.__module__ in (messages.__name__, spaces.__name__)


def _keys(struct: type[msgspec.Struct]) -> str:
    return ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(struct))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
