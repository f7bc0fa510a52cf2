"""The reference: Sphinx builds it without a warning, and all that there is is in it."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dfovsdb
from dfovsdb import unknown_options
from dfovsdb.cli.parser import _parser
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
LINK = re.compile(r'href="([^"#:?]*)(?:[?][^"#]*)?(?:#([^"]*))?"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-b",
            "html",
            "-d",
            str(target / "doctrees"),
            str(ROOT / "docs"),
            str(target / "html"),
        ],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return target / "html"


def text(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_option_is_in_the_reference(site: Path) -> None:
    message = text(site / "reference" / "configuration.html")
    for group, options in unknown_options.list_opts():
        assert group in message
        for option in options:
            assert option.dest in message, f"[{group}] {option.name}"
            assert " ".join((option.help or "").split())[:40] in " ".join(message.split())


def test_every_command_is_in_the_reference_with_its_help(site: Path) -> None:
    message = text(site / "reference" / "commands.html")
    commands = re.findall(r"^    ([\w-]+) ", _parser().format_help(), re.MULTILINE)
    assert {"run", "watch", "replay", "new-plugin"} <= set(commands)
    for command in commands:
        assert f"usage: dfovsdb {command} " in message


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    page = text(site / "python.html")
    documented = set(re.findall(r"\w+", page))
    assert set(dfovsdb.__all__) - {"__version__"} <= documented
    assert {"default_classifiers", "like", "event_word", "rows"} <= documented
    assert {"wait_for", "replay", "emit_many", "classify", "arrived", "EndsAs"} <= documented


def test_links_between_the_pages_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target, anchor in re.findall(
            r'href="([^"#:?]*)(?:[?][^"#]*)?(?:#([^"]*))?"', page.read_text()
        ):
            file = (page.parent / target) if target else page
            assert file.exists(), f"{page.name} -> {target}"
            if anchor and file.suffix == ".html":
                assert f'id="{html.unescape(anchor)}"' in file.read_text(), f"{target}#{anchor}"


def test_the_json_schema_is_part_of_it(site: Path) -> None:
    schema = (ROOT / "docs" / "events.schema.json").read_bytes()
    assert (site / "events.schema.json").read_bytes() == schema


def test_each_guide_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs").with_suffix(""))
        assert name == "index" or re.search(rf"^{name}$", contents, re.MULTILINE), name
