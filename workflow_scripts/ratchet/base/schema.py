"""JSON schemas of configuration files: made from types, checked with messages for people.

``python -m ratchet.config`` writes ``config/schema.yaml`` anew, in the working folder.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ratchet.base.errors import ConfigError
from ratchet.base.io import read_bytes


def load_yaml(path: Path) -> Any:
    """Parse a YAML file; errors name file, line and column."""
    return parse_yaml(read_bytes(path), str(path))


def parse_yaml(content: bytes, where: str) -> Any:
    """Parse YAML text that came from ``where``."""
    try:
        return yaml.load(content.decode(), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: is not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{where}{place}: is not valid YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not valid YAML ({error})") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads ``3e-4`` as the number it is; YAML 1.1 wants ``3.0e-4``."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def schema_of(cls: type, title: str, without: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of a file that holds the fields of a record, ``without`` some of them."""
    import msgspec

    (_,), parts = msgspec.json.schema_components([cls])
    fields = {k: v for k, v in parts[cls.__name__]["properties"].items() if k not in without}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, part in fields.items() if "default" not in part],
        "properties": {name: _flat(part) for name, part in fields.items()},
    }


def _flat(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a schema as people write it: one mapping per key, with a list of types."""
    if "in_file" in part:
        return dict(part["in_file"])
    if "enum" in part:
        return {"enum": part["enum"]}
    options = [_flat(option) for option in part.pop("anyOf", ())]
    choices = [option["enum"] for option in options if "enum" in option]
    if choices:
        return {"enum": [None, *choices[0]]}
    if options:
        part["type"] = [option["type"] for option in options]
        part |= {k: v for option in options for k, v in option.items() if k != "type"}
    return {k: _flat(v) if k == "items" else v for k, v in part.items()}


def check_schema(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Raise :class:`ConfigError` listing every deviation from ``schema``."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    problems = sorted(validator.iter_errors(value), key=lambda e: [str(p) for p in e.path])
    if not problems:
        return
    lines = []
    for problem in problems:
        lines += _explain(problem, where)
    error = ConfigError("\n".join(dict.fromkeys(lines)))
    error.faults = tuple(ConfigError(line) for line in dict.fromkeys(lines))
    raise error


def faulty_keys(value: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    """Top-level keys whose values are not as ``schema`` wants them."""
    import jsonschema

    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return {str(error.absolute_path[0]) for error in errors if error.absolute_path}


def least_value(part: Mapping[str, Any]) -> Any:
    """Some value that a key's schema allows: null where that is one, else the smallest."""
    kinds = part.get("type", ())
    if "enum" in part:
        return part["enum"][0]
    if "null" in kinds:
        return None
    plain: dict[str, Any] = {"boolean": False, "array": [], "object": {}, "string": "default"}
    least = part.get("minimum", part.get("exclusiveMinimum", 0) + 1)
    return plain.get(str(kinds), least)


def _explain(problem: Any, where: str) -> list[str]:
    """One line per mistake: where, what was expected, what was found."""
    place = ".".join(str(part) for part in problem.absolute_path)
    place = f"{where}: {place}" if place else where
    # A login in an address is for nobody's screen or log.
    found = re.sub(r":(//\S*[@?]\S*(?=')|[^:@\s]+@)", ":...", repr(problem.instance))
    instead = f"found {found:.60}"
    rule, wanted = problem.validator, problem.validator_value
    if rule == "additionalProperties":
        known = list(problem.schema.get("properties", {}))
        return [
            f"{place}: unknown key {key!r}{suggest_name(key, known)}"
            for key in problem.instance
            if key not in known
        ]
    if rule == "required":
        missing = [key for key in wanted if key not in problem.instance]
        return [f"{place}: the key {key!r} is missing" for key in missing]
    if rule == "type":
        types = [wanted] if isinstance(wanted, str) else wanted
        return [f"{place}: expected {' or '.join(_article(t) for t in types)}, {instead}"]
    if rule == "enum":
        return [f"{place}: expected one of {', '.join(map(str, wanted))}, {instead}"]
    words = {
        "minimum": f"at least {wanted}",
        "maximum": f"at most {wanted}",
        "exclusiveMinimum": f"more than {wanted}",
        "pattern": problem.schema.get("description", f"a match of {wanted}"),
    }
    return [f"{place}: expected {words.get(rule, problem.message)}, {instead}"]


def suggest_name(key: str, known: Iterable[str]) -> str:
    """Words on a known name that a wrong one is close to, or on all of them."""
    close = difflib.get_close_matches(str(key), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _article(kind: str) -> str:
    return {
        "null": "null",
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list",
        "object": "a mapping",
    }[kind]


def schema_text(schema: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    head = "# Made from the types in ratchet/config.py by: python -m ratchet.config\n"
    return head + yaml.safe_dump(schema, sort_keys=False, width=98, allow_unicode=True)
