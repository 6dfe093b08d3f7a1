"""What lower rooms say in English is found again by its words: each sentence here is one that they really said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config.model import Config, ScreeningConfig
from edge.errors import EdgeError
from edge.language.languages import codes, language
from edge.report.sentences import SENTENCES
from edge.sample.handlers import STOPPED
from edge.sample.lifecycle import SIGNED_BEFORE, Lifecycle
from edge.storage.database import Database
from tests.edge.publish.publish_parts import composer
from tests.edge.sample.review_parts import counted, do, ended

PATTERN = "[A-Z]-[0-9]+"


@pytest.fixture
def lifecycle(tmp_path: Path) -> Iterator[Lifecycle]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Lifecycle(Config(screening=ScreeningConfig(sample_pattern=PATTERN)), database, composer())


def refusals(lifecycle: Lifecycle) -> Iterator[Callable[[], object]]:
    """Give what is refused, one after the other."""
    sample = ended(lifecycle, "K-1")
    do(lifecycle, sample, by="Dr A", cells={"620": "sickle", "621": "sickle"})
    do(lifecycle, sample, by="Dr B", cells={"620": "other", "621": "sickle"}, reading="second")
    yield lambda: do(lifecycle, sample, by="Dr A", cells={"620": "sickle"}, reading="second")
    yield lambda: do(lifecycle, sample, by="Dr C", cells={"621": "other"}, reading="third")
    yield lambda: do(lifecycle, sample, by="Dr B", done=True)
    yield lambda: do(lifecycle, sample, by="Dr A", done=True)
    yield lambda: do(lifecycle, sample, by="Dr A", undo=[1])
    yield lambda: do(lifecycle, ended(lifecycle, "K-2", stage="incomplete", reason=STOPPED), done=True)
    do(lifecycle, sample, by="Dr A", done=True, reason="x")
    yield lambda: do(lifecycle, sample, cells={"1": "normal"})
    yield lambda: do(lifecycle, sample, done=True)
    lifecycle.discard(lifecycle.store.find(sample.id), "nurse", "")
    yield lambda: lifecycle.discard(lifecycle.store.find(sample.id), "nurse", "")
    yield lambda: lifecycle.start(counted("K-2", 1, 0, 0), "{}", "nurse")
    yield lambda: lifecycle.stop_unread("", "nurse")
    yield lambda: lifecycle.store.find("K-9")
    for code in ("", "K 1", "Kß1", "K+1", "A" * 70, "wrong"):
        yield lambda code=code: lifecycle.code(code)  # type: ignore[misc]
    running = lifecycle.start(counted("K-3", 1, 0, 0), "{}", "nurse")
    yield lambda: lifecycle.start(counted("K-4", 1, 0, 0), "{}", "nurse")
    yield lambda: lifecycle.reopen(running, "nurse", "")


def test_a_refusal_is_told_in_the_readers_language(lifecycle: Lifecycle) -> None:
    """Kind: a sentence that changed and fell back to English in each language."""
    others = [language(code) for code in codes() if code != "en"]
    said = [f"{SIGNED_BEFORE}: typo", "the target of 1000 red cells was reached", "7 fields were read"]
    for refused in refusals(lifecycle):
        with pytest.raises(EdgeError) as error:
            refused()
        said.append(str(error.value))
    assert len(said) >= 20
    for text in said:
        for one in others:
            assert one.recognised(text, SENTENCES) != text, text
        assert language("en").recognised(text, SENTENCES) == text
    french = language("fr").recognised(
        "sample K-1 is incomplete (it was stopped before its target; 7 red cells). To sign it all the same give a "
        "reason, or reopen it and scan on",
        SENTENCES,
    )
    assert "échantillon K-1 est incomplet (il a été arrêté avant son but\xa0; 7 globules rouges)" in french
