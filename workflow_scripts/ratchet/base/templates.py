"""Long texts from templates: `templates/NAME` beside the module that asks for one.

Text and Markdown are filled in as they are; a template's marks alone on a line leave none.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ratchet.base.text import one_line


def fill_template(module: str, name: str, **values: Any) -> str:
    """The text of a template beside the file of a module, with its values."""
    text: str = _environment(Path(module).with_name("templates")).get_template(name).render(values)
    return text


def code(names: Sequence[str]) -> str:
    """Names as Markdown code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


@functools.cache
def _environment(folder: Path) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # most steps render nothing

    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"line": one_line, "code": code}
    return environment
