"""Shows examples in docstrings as code: a griffe extension for the site."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)>>> .*?(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts a fence around each example."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(fence, obj.docstring.value)


def fence(example: re.Match[str]) -> str:
    """The example within a fence of its own indentation."""
    indent = example[1]
    return f"{indent}```pycon\n{example[0]}\n{indent}```"
