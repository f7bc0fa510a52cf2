"""The promises of a classifier."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.errors import DfovsdbError
from dfovsdb.model import Interface
from dfovsdb.plugins import default_classifiers
from dfovsdb.testing.conformance import hooks, purity, side_effects
from dfovsdb.testing.conformance.options import check_options
from dfovsdb.testing.rows import absurd, corpus, declaring
from dfovsdb.testing.schema_columns import COLUMNS
from dfovsdb.text.escape import close_to, did_you_mean


class ClassifierConformance:
    """A classifier is pure, total and quick, and returns strings."""

    #: The class under test.
    plugin: ClassVar[type[Classifier]]
    #: Python-level calls that one row may cost.
    calls_limit: ClassVar[int] = 2000
    #: How many times as long as the default chain it may take.
    ratio_limit: ClassVar[float] = 200
    #: Seconds that one call may take; the agent logs a classifier that takes more than one.
    deadline: ClassVar[float] = 5.0
    #: Columns that it declares, and that only the schema of a modified Open vSwitch has.
    other_columns: ClassVar[frozenset[str]] = frozenset()

    #: The error of every later test of this suite, once a call has not returned.
    _hopeless: ClassVar[dict[type, str]] = {}

    def make(self) -> Classifier:
        """Return a new instance; override it if the class needs arguments."""
        classifier: Classifier = hooks.built(self)
        return classifier

    def rows(self) -> list[Interface]:
        """Return the rows to test with; extend it with rows that matter to yours.

        If a row does not have a column that the classifier declares, it is added: empty, and
        filled.
        """
        return corpus(self._made().columns)

    def test_the_same_row_has_the_same_answer(self) -> None:
        """Results do not depend on earlier calls, their order, the instance, or the thread.

        Its rows have new uuids, so that what a class remembers of rows shows here.
        """
        classifier = self._made()
        rows = [msgspec.structs.replace(row, uuid=str(uuid.uuid4())) for row in self._rows()]
        first = [_copy(self._asked(classifier, row)) for row in rows]
        backwards = [_copy(self._asked(classifier, row)) for row in reversed(rows)][::-1]
        other = self._made()
        elsewhere: list[Any] = []
        thread = threading.Thread(
            target=lambda: elsewhere.extend(_answer_or_error(other, row) for row in rows[::-1]),
            daemon=True,
        )
        thread.start()
        thread.join(10 * self.deadline)
        assert not thread.is_alive(), "on another thread, classify() does not return"
        for row, *answers in zip(rows, first, backwards, elsewhere[::-1], strict=True):
            same = all(answer == answers[0] for answer in answers)
            assert same, f"the answers differ: {answers}; {_shown(row)}"

    def test_it_names_its_kind_and_columns_that_can_be_monitored(self) -> None:
        try:
            Chain([self._made()])
        except DfovsdbError as error:
            raise AssertionError(str(error)) from None

    def test_its_columns_are_in_the_schema(self) -> None:
        """A server that does not have a column leaves it empty: a typo would not be noticed."""
        for column in sorted(set(self._made().columns) - self.other_columns):
            table, dot, name = column.rpartition(".")
            known = COLUMNS.get(table if dot else "Interface", frozenset())
            near = did_you_mean(close_to(name, known))
            assert name in known, (
                f"column {column!r} is not in the schema of Open vSwitch{near}; if yours has it, "
                "set other_columns"
            )

    def test_its_options_are_arguments_of_its_init(self) -> None:
        check_options(type(self._made()))

    def test_it_answers_every_row(self) -> None:
        classifier = self._made()
        for row in self._rows():
            self._asked(classifier, row)

    def test_it_claims_a_row(self) -> None:
        """Otherwise nothing that it answers is tested."""
        classifier, rows = self._made(), self._rows()
        assert any(self._asked(classifier, row) is not None for row in rows), (
            f"none of {len(rows)} rows is claimed, so its answers are not tested: add a row that "
            f"is of the kind {classifier.kind}, def rows(self): return [*super().rows(), "
            'interface("NAME", external_ids={…})]'
        )

    def test_attributes_are_strings_or_none(self) -> None:
        classifier = self._made()
        for row in self._rows():
            answer: object = self._asked(classifier, row)
            if answer is None:
                continue
            assert isinstance(answer, Mapping), f"{answer!r:.80} is not a mapping; {_shown(row)}"
            for name, value in answer.items():
                fine = isinstance(name, str) and (value is None or isinstance(value, str))
                assert fine, f"attribute {name!r} is {value!r:.80}; {_shown(row)}"
            if _is_unicode(row):  # else it may hand on what it received
                assert _is_unicode(dict(answer)), (
                    f"{answer!r:.80} is not valid Unicode, which no sink can write; {_shown(row)}"
                )

    def test_what_a_row_lacks_is_words_or_none(self) -> None:
        """`dfovsdb doctor` calls nearly()."""
        classifier = self._made()
        for row in self._rows():
            with self._in_time(row, method="nearly"):
                try:
                    text: object = classifier.nearly(row)
                except Exception as error:
                    where = purity.place(error)
                    raise AssertionError(
                        f"nearly() raised {error!r} {where}; {_shown(row)}"
                    ) from error
            assert text is None or isinstance(text, str), f"nearly() returned {text!r:.80}"

    def test_an_answer_is_not_changed_later(self) -> None:
        classifier, rows = self._made(), self._rows()
        answers = [(answer := self._asked(classifier, row), _copy(answer)) for row in rows]
        for answer, as_it_was in answers:
            assert answer == as_it_was, f"{as_it_was} became {answer} by a later call"

    def test_it_changes_no_row(self) -> None:
        classifier = self._made()
        for row in self._rows():
            before = _plain(row)
            self._asked(classifier, row)
            assert _plain(row) == before, f"the row was changed; {_shown(row)}"

    def test_it_does_no_input_or_output(self) -> None:
        classifier, rows = self._made(), self._rows()
        for row in rows:  # everything that the first call imports has been imported now
            self._asked(classifier, row)
        with side_effects.watching_io() as seen:
            for row in rows:
                self._asked(classifier, row)
        assert not seen, (
            f"classify() runs between the socket and the replica, but it did {seen[0]}"
        )

    def test_its_answer_depends_on_the_row_alone(self) -> None:
        """It reads no clock, environment, file state or random number, and starts no thread."""
        rows = self._rows()
        self._impurities(rows)  # what the first calls import has been imported then
        seen = self._impurities(rows)
        assert not seen, f"classify() is not a function of the row: it calls {seen[0]}"

    def test_a_row_costs_few_calls(self) -> None:
        classifier = self._made()
        for row in self._rows():
            with self._in_time(row):
                calls = side_effects.calls(lambda row=row: _classify(classifier, row))  # type: ignore[misc]  # row=row
            assert calls <= self.calls_limit, f"{calls} calls for one row; {_shown(row)}"

    def test_it_is_not_much_slower_than_the_default_classifiers(self) -> None:
        classifier, rows = self._made(), self._rows()
        chain = default_classifiers()

        def reference() -> None:
            for row in rows:
                for one in chain:
                    one.classify(row)

        def ours() -> None:
            for row in rows:
                _classify(classifier, row)

        with self._in_time(calls=len(rows)):
            took = side_effects.quickest(ours)
        ratio = took / side_effects.quickest(reference)
        assert ratio <= self.ratio_limit, f"{ratio:.0f} times as slow as the default classifiers"

    def _impurities(self, rows: Sequence[Interface]) -> list[str]:
        """Return what a new instance reads beside the rows."""
        classifier = self._made()
        seen: list[str] = []
        for row in rows:
            with self._in_time(row):
                seen += purity.impurities(partial(_classify, classifier, row))
        return seen

    def _asked(self, classifier: Classifier, row: Interface) -> Mapping[str, str | None] | None:
        with self._in_time(row):
            return _classify(classifier, row)

    @contextlib.contextmanager
    def _in_time(
        self, row: Interface | None = None, *, calls: int = 1, method: str = "classify"
    ) -> Iterator[None]:
        """Limit the time of so many calls. After one that did not return, others fail at once.

        :raises AssertionError: a call did not return in time.
        """
        if hopeless := self._hopeless.get(type(self)):
            raise AssertionError(hopeless)
        try:
            with purity.deadline(calls * self.deadline):
                yield
        except purity.TooLate as error:
            text = f"{method}() {error}" + (f"; {_shown(row)}" if row is not None else "")
            self._hopeless[type(self)] = text
            raise AssertionError(text) from None

    def _made(self) -> Classifier:
        return hooks.made(self.make, Classifier)  # type: ignore[type-abstract]  # any of them

    def _rows(self) -> list[Interface]:
        rows = [*hooks.several("rows", self.rows, Interface, "Interface rows"), *absurd()]
        return declaring(rows, self._made().columns)


def _classify(classifier: Classifier, row: Interface) -> Mapping[str, str | None] | None:
    try:
        return classifier.classify(row)
    except (Exception, SystemExit, GeneratorExit) as error:
        where = purity.place(error)
        raise AssertionError(f"classify() raised {error!r} {where}; {_shown(row)}") from error


def _answer_or_error(classifier: Classifier, row: Interface) -> object:
    try:
        return _copy(classifier.classify(row))
    except Exception as error:  # noqa: BLE001 - it is compared with the other answers
        return repr(error)


def _copy(answer: Mapping[str, str | None] | None) -> Any:
    return dict(answer) if isinstance(answer, Mapping) else answer


def _plain(row: Interface) -> Any:
    return msgspec.to_builtins(row)


def _is_unicode(value: object) -> bool:
    try:
        return bool(msgspec.json.encode(value))
    except UnicodeEncodeError:
        return False


def _shown(row: Interface) -> str:
    return f"the row is {row!r:.300}"
