"""Every example in the docs runs, what is generated is up to date, links lead somewhere."""

from __future__ import annotations

import http.server
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from dfovsdb import Monitor, config, from_json, to_json, unknown_options
from dfovsdb.json_v1 import json_schema
from dfovsdb.testing import CaptureSink, Sandbox, wait_until

ROOT = Path(__file__).parents[2]
DOCS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
UNIX_SOCKET = "unix:/run/openvswitch/db.sock"


def blocks(file: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", file.read_text(), re.MULTILINE | re.DOTALL)


def readme_block(language: str, word: str) -> str:
    (block,) = [b for b in blocks(ROOT / "README.md", language) if word in b]
    return block


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl(
        "add-port",
        "br-int",
        "tap0",
        "--",
        "set",
        "interface",
        "tap0",
        "type=dummy",
        "external_ids:iface-id=v1",
    )
    return ovs_sandbox


def test_the_for_loop_of_the_readme_prints_events(switch: Sandbox) -> None:
    code = readme_block("python", "for event in watch").replace(UNIX_SOCKET, switch.connection)
    loop = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert loop.stdout
    lines = {loop.stdout.readline(), loop.stdout.readline()}
    loop.kill()
    loop.wait()
    loop.stdout.close()
    assert {"online bridge br-int\n", "online vm tap0\n"} <= lines


def test_the_plugins_of_the_readme_work(
    switch: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(compile(readme_block("python", "class DhcpClassifier"), "README.md", "exec"), names)
    switch.vsctl(
        "add-port",
        "br-int",
        "tapdhcp",
        "--",
        "set",
        "interface",
        "tapdhcp",
        "type=internal",
        "external_ids:iface-id=d1",
    )
    capture = CaptureSink()
    sinks = [names["PrintSink"](), capture]
    with Monitor(switch.connection, classifiers=[names["DhcpClassifier"]()], sinks=sinks):
        capture.wait_until(lambda: capture.of("tapdhcp"))
    assert capture.of("tapdhcp")[0].port.attributes == {"iface_id": "d1"}
    assert "online tapdhcp\n" in capsys.readouterr().out


class _Receiver(http.server.BaseHTTPRequestHandler):
    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


def test_the_sink_of_the_guide_waits_for_its_server(
    switch: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    code = blocks(ROOT / "docs" / "sinks.md", "python")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "sinks.md", "exec"), names)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = names["PostSink"](f"http://127.0.0.1:{port}/")
    with Monitor(switch.connection, sinks=[sink]):
        wait_until(lambda: any("is unavailable" in record.message for record in caplog.records))
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Receiver) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                expected = {"action": "online", "port": "br-int"}
                wait_until(lambda: expected in _Receiver.bodies)
            finally:
                server.shutdown()
                thread.join()


def test_the_sink_of_the_guide_runs_the_conformance_suite() -> None:
    names: dict[str, Any] = {}
    exec(compile("".join(blocks(ROOT / "docs" / "sinks.md", "python")), "sinks.md", "exec"), names)
    suite = names["TestPostSink"]()
    suite.test_its_options_are_arguments_of_its_init()
    assert type(suite.make()).__name__ == "PostSink"


def test_the_configuration_of_the_readme_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(readme_block("ini", "[sink_jsonl]"))
    conf = config.load([str(file)])
    assert conf.dfovsdb.sinks == ["log", "jsonl"]
    assert conf.dfovsdb.resync == "diff"


def test_the_json_of_the_event_reference_is_what_we_write() -> None:
    lines = "".join(blocks(ROOT / "docs" / "events.md", "json")).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert to_json(from_json(line)).decode() == line


def test_the_json_schema_is_generated() -> None:
    written = json.loads((ROOT / "docs" / "events.schema.json").read_text())
    assert written == json.loads(msgspec.json.encode(json_schema())), "run make generate"


def test_the_python_reference_is_generated() -> None:
    script = ROOT / "tools" / "python_reference.py"
    done = subprocess.run(
        [sys.executable, str(script)], check=True, capture_output=True, text=True
    )
    assert done.stdout == (ROOT / "docs" / "python.md").read_text(), "run make generate"


def test_the_sample_configuration_is_generated(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    generate = "import sys; from oslo_config.generator import main; sys.exit(main())"
    namespaces = ["--namespace", "dfovsdb", "--namespace", "oslo.log"]
    subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            generate,
            *namespaces,
            "--output-file",
            str(sample),
        ],
        check=True,
    )
    written = (ROOT / "docs" / "dfovsdb.conf.sample").read_text()
    assert sample.read_text() == written, "run make generate"


def test_the_sample_configuration_names_every_option() -> None:
    written = (ROOT / "docs" / "dfovsdb.conf.sample").read_text()
    for group, options in unknown_options.list_opts():
        section = written.partition(f"\n[{group}]\n")[2].partition("\n[")[0]
        for option in options:
            assert f"\n#{option.dest} =" in section, f"[{group}] {option.name}"


@pytest.mark.parametrize("file", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(file: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
        if "://" not in target:
            assert (file.parent / target).exists(), target


@pytest.mark.parametrize("file", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_tests_and_modules_that_the_docs_name_are_there(file: Path) -> None:
    text = file.read_text()
    for path, name in re.findall(r"`((?:unit|functional)/\w+\.py)::(\w+)`", text):
        assert f"def {name}(" in (ROOT / "tests" / path).read_text(), f"{path}::{name}"
    exists: Callable[[str], bool] = lambda name: any(ROOT.rglob(name))  # noqa: E731 - short
    for name in re.findall(r"`(?:\w+/)*(\w+\.py)`", text):
        assert exists(name), name


@pytest.mark.parametrize("file", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_folders_and_make_targets_that_the_docs_name_are_there(file: Path) -> None:
    text = file.read_text()
    for folder in re.findall(r"`((?:dfovsdb|tests|docs|contrib|examples|tools)/[\w/-]*)/`", text):
        assert (ROOT / folder).is_dir(), folder
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^    |&& )make ([a-z-]+)", text, re.MULTILINE)
    assert set(named) <= targets, set(named) - targets


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a machine on which it was made, no name of a package host."""
    expected = "|".join(("/wo" + "rk/", "/ro" + "ot/", r"deb\.deb" + "ian", r"pypi\.o" + "rg"))
    done = subprocess.run(
        ["git", "grep", "-nIE", expected], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
