"""The parameters of permessage-deflate as they stand in headers (RFC 7692, section 7.1); a leaf."""

from __future__ import annotations


class BadParameter(Exception):
    """A parameter list of permessage-deflate breaks RFC 7692, section 7.1."""


def parse_parameters(text: str) -> dict[str, int | None]:
    """Reads the parameters behind the extension's name; flags and a bare window size have the value
    None.
    """
    found: dict[str, int | None] = {}
    for parameter in text.split(";")[1:]:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in found:
            raise BadParameter(f"{name} is repeated")
        if name in ("client_no_context_takeover", "server_no_context_takeover"):
            if equals:
                raise BadParameter(f"{name} takes no value")
            found[name] = None
        elif name in ("client_max_window_bits", "server_max_window_bits"):
            found[name] = _window_bits(name, value) if equals else None
        else:
            raise BadParameter(f"unknown parameter {name}")
    return found


def _window_bits(name: str, value: str) -> int:
    if (
        len(value) > 1 and value[0] == value[-1] == '"'
    ):  # a quoted value is allowed (RFC 6455, section 9.1)
        value = value[1:-1]
    if value not in ("8", "9", "10", "11", "12", "13", "14", "15"):
        raise BadParameter(f"{name} must be 8 to 15")
    return int(value)


def checked_bits(value: int) -> int:
    """Returns the size of a window that zlib can do; ValueError for others."""
    if not 9 <= value <= 15:
        raise ValueError(f"window bits must be 9 to 15 (zlib cannot do 8), not {value}")
    return value


__all__ = ["BadParameter", "checked_bits", "parse_parameters"]
