"""Languages of the page and of reports: catalogues, numbers and dates. A file in locale/ is a language."""

from __future__ import annotations

import gettext
import re
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import cache
from importlib.resources import files

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from edge.errors import ConfigError

ENGLISH = "en"

REVIEWED = "X-Reviewed-By-Native-Speaker"
"""Header of a catalogue: `yes` once a native speaker who knows the field has read it."""


def N_(text: str) -> str:  # noqa: N802  # the name that extractors of messages know
    """Mark a text that is translated where it is shown."""
    return text


class _Translations(gettext.NullTranslations):
    """The messages of a catalogue."""

    def __init__(self, catalogue: Catalog) -> None:
        super().__init__()
        self._messages: dict[tuple[str, int], str] = {}
        self._plural = catalogue.plural_expr
        self._plural_index = gettext.c2py(catalogue.plural_expr)
        for message in catalogue:
            texts = message.string if isinstance(message.string, list | tuple) else (message.string,)
            key = message.id[0] if isinstance(message.id, list | tuple) else message.id
            self._messages |= {(key, index): text for index, text in enumerate(texts) if key and text}

    def gettext(self, message: str) -> str:
        return self._messages.get((message, 0), message)

    def ngettext(self, one: str, many: str, number: int) -> str:
        return self._messages.get((one, self._plural_index(number)), one if number == 1 else many)


@dataclass(frozen=True, slots=True)
class Language:
    """A language of the page and of reports.

    Attributes:
        code: such as `fr`.
        name: its own name for itself.
        reviewed: whether a native speaker has read the catalogue.
        messages: the catalogue.
        locale: how numbers and dates are written.
    """

    code: str
    name: str
    reviewed: bool
    messages: gettext.NullTranslations
    locale: Locale

    def told(self, text: str, **values: object) -> str:
        """Return a text in the language, with values in their places, such as `%(name)s`."""
        found = self.messages.gettext(text)
        return found % values if values else found

    def recognised(self, text: str, sentences: tuple[str, ...]) -> str:
        """Return an English text in the language where it is one of these sentences, else itself.

        What stands at the places of a sentence is looked up likewise.
        """
        exact = self.messages.gettext(text)
        if exact != text:
            return exact
        for sentence, pattern in _patterns(sentences):
            found = pattern.fullmatch(text)
            if found is not None:
                values = {name: self.recognised(value, sentences) for name, value in found.groupdict().items()}
                return self.told(sentence, **values)
        return text

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """Return a text in the form for a number, which stands in it as `%(num)s`."""
        return self.messages.ngettext(one, many, number) % {"num": self.number(number), **values}

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number as it is written in the language."""
        return str(format_decimal(round(value, digits), f"#,##0.{'0' * digits}" if digits else "#,##0", self.locale))

    def percent(self, fraction: float | None, digits: int = 2) -> str:
        """Return a fraction as a percentage; a dash for none."""
        if fraction is None:
            return "–"
        return str(format_percent(fraction, f"#,##0.{'0' * digits} %" if digits else "#,##0 %", self.locale))

    def time(self, made_ms: int) -> str:
        """Return a wall time, milliseconds since 1970 UTC, in the device's zone."""
        return str(format_datetime(_local(made_ms), "medium", locale=self.locale))

    def day(self, iso: str) -> str:
        """Return a day (2026-11-30) as the language writes it; what is no day, as it is."""
        try:
            return str(format_date(date.fromisoformat(iso), "medium", self.locale))
        except ValueError:
            return iso

    def minute(self, made_ms: int) -> str:
        """Return a wall time without its seconds and with the name of the device's zone."""
        when = _local(made_ms)
        return f"{format_date(when, 'medium', self.locale)}, {format_time(when, 'HH:mm', locale=self.locale)} {when:%Z}"


@cache
def _patterns(sentences: tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    """Return each sentence with the pattern of the texts that it stands for; those without places need none."""
    return [
        (one, re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.+?)", re.escape(one))))
        for one in sentences
        if "%(" in one
    ]


def _local(made_ms: int) -> datetime:
    return datetime.fromtimestamp(made_ms / 1000, timezone.utc).astimezone()


@cache
def codes() -> tuple[str, ...]:
    """Return the languages that there are, English first."""
    found = (path.name.removesuffix(".po") for path in files("edge.language").joinpath("locale").iterdir())
    return (ENGLISH, *sorted(code for code in found if code.isalpha() and len(code) <= 3))


@cache
def language(code: str) -> Language:
    """Return a language by one of the `codes`."""
    locale = Locale.parse(code)
    name = (locale.get_display_name(locale) or code).capitalize()
    if code == ENGLISH:
        return Language(code, name, True, gettext.NullTranslations(), locale)
    with files("edge.language").joinpath(f"locale/{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    headers = dict(catalogue.mime_headers)
    return Language(code, name, headers.get(REVIEWED) == "yes", _Translations(catalogue), locale)


def asked(code: str) -> Language:
    """Return a language by its code.

    Raises:
        ConfigError: There is none of it.
    """
    if code not in codes():
        raise ConfigError(f"there is no language {code!r}; expected one of {', '.join(codes())}")
    return language(code)


def chosen(wanted: str, accepted: str) -> Language:
    """Return the language for a request.

    Args:
        wanted: code that the person chose, or anything.
        accepted: the header Accept-Language.
    """
    if wanted in codes():
        return language(wanted)
    asked = [part.partition(";")[0].strip().replace("-", "_") for part in accepted.split(",")[:10]]
    return language(negotiate_locale([one for one in asked if one], codes()) or ENGLISH)
