"""The pictures of the docs can be taken again, and fetch nothing from elsewhere."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]


def text(picture: Path) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", picture.read_text())).replace("\xa0", " ")


def test_the_picture_of_the_page_can_be_taken(tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium here: install package chromium")
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "page_picture.py"), str(tmp_path)],
        check=True,
        timeout=2 * DEADLINE,
    )
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_the_pictures_are_of_real_output(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "pictures.py"), str(tmp_path)],
        check=True,
        timeout=DEADLINE,
    )
    shown = {picture.stem: text(picture) for picture in tmp_path.glob("*.svg")}
    assert shown.keys() == {file.stem for file in (ROOT / "docs" / "pictures").glob("*.svg")}
    assert "9 ports: bridge 2, patch 1, service 1, tunnel 2, vm 3" in shown["ports"]
    assert "9 interfaces are equal to what ovs.db.idl reads" in shown["doctor"]
    assert "initial sync is complete" in shown["watch"]
    assert "tapc03fe815-aa" in shown["live"]
    for picture in tmp_path.iterdir():
        assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", picture.read_text())
