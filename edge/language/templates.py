"""Templates in a language: what a text, a count, a number and a time become where a template names them."""

from __future__ import annotations

from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from edge.language.languages import Language


def environment(language: Language, loader: BaseLoader) -> Environment:
    """Return templates that `_` and `ngettext` translate and that refuse unknown names.

    Args:
        language: in which they are shown.
        loader: of the templates.
    """
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    made.install_gettext_translations(language.messages, newstyle=True)  # type: ignore[attr-defined]

    def ngettext(one: str, many: str, num: int, **given: Any) -> Markup:
        # As jinja's own, but the number is written as the language does.
        return Markup(language.messages.ngettext(one, many, num)) % {"num": language.number(num), **given}  # noqa: S704

    made.globals |= {"ngettext": ngettext, "language": language}
    made.filters |= {
        "told": language.messages.gettext,
        "number": language.number,
        "percent": language.percent,
        "time": language.time,
        "day": language.day,
    }
    return made
