"""Finding entry points in folders, compared with the standard library's own way."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import entry_points
from dfovsdb.entry_points import EntryPoint

GROUP = "tests.entry_points"
Install = Callable[..., Path]


def by_library(group: str) -> list[EntryPoint]:
    return [
        EntryPoint(point.name, point.value, point.dist.name if point.dist else "?")
        for point in importlib.metadata.entry_points(group=group)
    ]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes what an installer leaves of a package, in a folder that is first in sys.path."""

    def install(
        info: str, points: str | None, name: str | None = None, folder: str = "packages"
    ) -> Path:
        path = tmp_path / folder / info
        path.mkdir(parents=True)
        if points is not None:
            (path / "entry_points.txt").write_text(points, encoding="utf-8")
        if name is not None:
            file = "METADATA" if info.endswith(".dist-info") else "PKG-INFO"
            (path / file).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        if str(path.parent) not in sys.path:
            monkeypatch.syspath_prepend(path.parent)
        importlib.invalidate_caches()
        return path

    return install


def test_what_is_installed_here_is_what_the_library_finds() -> None:
    groups = set(importlib.metadata.entry_points().groups)
    assert {"dfovsdb.classifiers", "dfovsdb.sinks", "console_scripts"} <= groups
    for group in groups:
        assert sorted(entry_points.find(group)) == sorted(by_library(group)), group


TEXTS = {
    "comments and blank lines": "# a\n\n[other]\nno=n:n\n\n[tests.entry_points]\n# b\n a = m:A \n",
    "no object": "[tests.entry_points]\na = some.module\n",
    "extras": "[tests.entry_points]\na = m:A.b [x, y]\n",
    "the group twice": "[tests.entry_points]\na=m:A\n[x]\n[tests.entry_points]\nb=m:B\n",
    "another letter": "[tests.entry_points]\nä = m:Ä\n",
    "an equals sign in the value": "[tests.entry_points]\na = m:A=b\n",
    "Windows": "[tests.entry_points]\r\na = m:A\r\n",
    "empty": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("info", ["Far.away-1.0.dist-info", "Far_Away-1.0-py3.11.egg-info"])
def test_a_file_is_read_as_the_library_reads_it(install: Install, info: str, text: str) -> None:
    install(info, text, "Far-Away")
    assert entry_points.find(GROUP) == by_library(GROUP)


def test_the_first_package_of_a_name_in_the_path_is_the_one_that_counts(install: Install) -> None:
    install("far_away-1.0.dist-info", f"[{GROUP}]\na = old:A\n", "far-away", folder="later")
    install("Far.Away-2.0.dist-info", f"[{GROUP}]\na = new:A\n", "far-away", folder="first")
    assert entry_points.find(GROUP) == [EntryPoint("a", "new:A", "far-away")] == by_library(GROUP)


def test_what_is_no_package_is_passed_over(install: Install) -> None:
    folder = install("far_away-1.0.dist-info", f"[{GROUP}]\na = m:A\n", "far-away").parent
    (folder / "broken-1.0.dist-info").write_text("a file")
    (folder / "bare-1.0.dist-info").mkdir()
    (folder / "bytes-1.0.dist-info").mkdir()
    (folder / "bytes-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[a]\n")
    sys.path.append(str(folder / "no-such-folder"))
    assert entry_points.find(GROUP) == [EntryPoint("a", "m:A", "far-away")]


def test_what_is_no_text_in_the_path_is_passed_over(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("near-1.0.dist-info", f"[{GROUP}]\nb = n:B\n", "near")
    monkeypatch.setattr(sys, "path", [tmp_path, b"/", *sys.path])
    assert entry_points.find(GROUP) == [EntryPoint("b", "n:B", "near")]


def test_a_package_in_an_archive_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install("near-1.0.dist-info", f"[{GROUP}]\nb = n:B\n", "near")
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("far_away-1.0.dist-info/METADATA", "Name: far-away\nVersion: 1\n")
        file.writestr("far_away-1.0.dist-info/entry_points.txt", f"[{GROUP}]\na = m:A\n")
    monkeypatch.syspath_prepend(archive)
    importlib.invalidate_caches()
    found = [EntryPoint("a", "m:A", "far-away"), EntryPoint("b", "n:B", "near")]
    assert sorted(entry_points.find(GROUP)) == found


def test_a_package_of_another_finder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Package(importlib.metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            texts = {"METADATA": "Name: made-up\n", "entry_points.txt": f"[{GROUP}]\na = m:A\n"}
            return texts.get(filename)

        def locate_file(self, path: Any) -> Any:
            raise NotImplementedError

    class Finder(importlib.metadata.DistributionFinder):
        def find_spec(self, *_: Any) -> None:
            return None

        def find_distributions(self, context: Any = None) -> list[Package]:  # noqa: ARG002 - it has one
            return [Package()]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert entry_points.find(GROUP) == [EntryPoint("a", "m:A", "made-up")]


@pytest.mark.parametrize("value", ["os:path.join", "os:path.join [extra]", "os : path.join"])
def test_loading_imports_what_it_names(value: str) -> None:
    import os

    assert EntryPoint("a", value, "p").load() is os.path.join
    assert EntryPoint("a", "os", "p").load() is os


def test_loading_raises_what_the_import_raises() -> None:
    with pytest.raises(ModuleNotFoundError):
        EntryPoint("a", "no_such_module:A", "p").load()
    with pytest.raises(AttributeError):
        EntryPoint("a", "os:no_such_name", "p").load()
