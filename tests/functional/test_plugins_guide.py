"""The guide for plugin authors, done as it says; and the skeleton that new-plugin writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.cli import scaffold
from dfovsdb.errors import ConfigurationError
from dfovsdb.testing import ClassifierConformance, Sandbox, interface
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "plugins.md").read_text()
FILES = dict(re.findall(r"^`([\w./-]+)`\n```\w+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))


def block(language: str, word: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if word in text]
    return str(found)


class Package:
    """A plugin package, installed beside everything that there is."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
                "--target",
                str(site),
                str(folder),
            ],
            check=True,
            timeout=DEADLINE,
        )
        paths = [str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def run(self, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *args],
            cwd=self.folder,
            text=True,
            env=self.environment,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """What somebody has who copied every file of the guide."""
    folder = tmp_path_factory.mktemp("work") / "dfovsdb-router"
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Package(folder, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("generated")
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", "new-plugin", "edge"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout == "dfovsdb-edge/ was created; its README.md describes the next steps\n"
    return Package(folder / "dfovsdb-edge", tmp_path_factory.mktemp("site"))


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    for name in ("qr-1", "edge0"):
        ovs_sandbox.vsctl(
            "add-port",
            "br-int",
            name,
            "--",
            "set",
            "interface",
            name,
            "type=internal",
            "external_ids:iface-id=p1",
        )
    return ovs_sandbox


def test_every_file_of_the_guide_is_there() -> None:
    assert set(FILES) == {
        "routers.conf",
        "router.conf",
        "setup.cfg",
        "pyproject.toml",
        "tests/test_conformance.py",
        "dfovsdb_router/__init__.py",
        "dfovsdb_router/classifier.py",
        "dfovsdb_router/sink.py",
    }


def test_the_kind_of_the_guide_needs_no_code(guide: Package, switch: Sandbox) -> None:
    command = ("dfovsdb", "--config-file", "routers.conf", "watch", "--once", switch.connection)
    assert re.search(r"online +router +qr-1 .*iface_id=p1", guide.run(*command))


def test_the_switch_of_the_guide_has_what_its_first_watch_shows(
    guide: Package, ovs_sandbox: Sandbox
) -> None:
    commands = re.sub(r"^OVS=.*", f"OVS={ovs_sandbox.connection}", block("sh", "add-br"))
    assert ovs_sandbox.connection in commands
    subprocess.run(["sh", "-euc", commands], check=True, timeout=DEADLINE)
    shown = guide.run(
        "dfovsdb", "--config-file", "routers.conf", "watch", "--once", ovs_sandbox.connection
    )
    in_guide, real = [
        [re.sub(r"^\d\d:\d\d:\d\d", "TIME", line) for line in text.splitlines()]
        for text in (block("text", "online"), shown)
    ]
    assert (real[0], sorted(real), real[-1]) == (in_guide[0], sorted(in_guide), in_guide[-1])


@pytest.mark.parametrize("columns", [frozenset(), frozenset({"mtu", "bfd"})])
def test_the_rows_that_the_guide_adds_are_asked_about(columns: frozenset[str]) -> None:
    (line,) = re.findall(r"`(return \[\*super.*?)`", GUIDE)
    hook = f"class Suite(ClassifierConformance):\n    def rows(self):\n        {line}\n"
    names: dict[str, Any] = {
        "ClassifierConformance": ClassifierConformance,
        "interface": interface,
    }
    exec(
        compile(FILES["dfovsdb_router/classifier.py"] + "\n\n" + hook, "plugins.md", "exec"), names
    )
    names["RouterClassifier"].columns = columns
    suite = names["Suite"]()
    suite.plugin = names["RouterClassifier"]
    assert "qr-" in {row.name for row in suite.rows()}
    for promise in dir(ClassifierConformance):
        if promise.startswith("test_"):
            getattr(suite, promise)()


def test_a_row_of_a_test_has_its_columns_as_the_guide_gives_them() -> None:
    (given,) = re.findall(r"`(interface\(.*?mtu=1500\))`", GUIDE)
    assert eval(given, {"interface": interface}).columns == {"mtu": 1500}
    assert "`mtu=None`" in GUIDE
    assert interface("qr-1", mtu=None).columns == {"mtu": None}


def test_the_tests_of_the_guide_pass_with_none_skipped(guide: Package) -> None:
    said = guide.run("pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"\d\d passed", said), said
    assert "skipped" not in said


def test_the_plugins_of_the_guide_are_listed_as_it_says(guide: Package) -> None:
    listed = guide.run("dfovsdb", "--config-file", "router.conf", "plugins")
    shown = block("text", " 1  router")
    lines = {" ".join(line.split()) for line in listed.splitlines()}
    assert {" ".join(line.split()) for line in shown.splitlines()} <= lines
    assert "2 lines dfovsdb-router dfovsdb_router.sink:LinesSink" in lines


def test_a_plugin_of_the_guide_that_cannot_be_imported_is_shown_as_it_says(guide: Package) -> None:
    module = guide.folder / "dfovsdb_router" / "classifier.py"
    text = module.read_text()
    module.write_text(f"import netadr\n{text}")
    try:
        listed = guide.run("dfovsdb", "--config-file", "router.conf", "plugins")
    finally:
        module.write_text(text)
    lines = {" ".join(line.split()) for line in listed.splitlines()}
    assert {" ".join(line.split()) for line in block("text", " !  router").splitlines()} <= lines


def test_the_classifier_of_the_guide_is_seen_with_watch(guide: Package, switch: Sandbox) -> None:
    command = ("dfovsdb", "--config-file", "router.conf", "watch", "--once", switch.connection)
    assert re.search(r"online +router +qr-1 .*iface_id=p1", guide.run(*command))


def test_the_sink_of_the_guide_can_be_built_from_its_configuration(guide: Package) -> None:
    code = (
        "from dfovsdb import config, plugins; conf = config.load(['router.conf']);"
        "print(plugins.SINKS.build(conf.dfovsdb.sinks, conf)['lines']._path)"
    )
    assert guide.run("timeit", "-n1", "-r1", code).startswith("ports.events\n")


def test_the_package_of_the_guide_is_published_as_a_wheel(guide: Package, tmp_path: Path) -> None:
    (command,) = re.findall(r"^    pip (wheel .*)", GUIDE, re.MULTILINE)
    command = command.replace("PATH_OF_THE_WHEELS", str(tmp_path))
    guide.environment["PIP_NO_BUILD_ISOLATION"] = "0"  # which is how its option is spelt here
    guide.run("pip", *command.split())
    assert [file.name for file in tmp_path.iterdir()] == ["dfovsdb_router-1.0-py3-none-any.whl"]


def test_a_generated_package_conforms(generated: Package) -> None:
    said = generated.run("pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"\d\d passed", said), said
    assert "skipped" not in said


def test_a_generated_package_is_enabled_by_its_configuration(generated: Package) -> None:
    listed = generated.run("dfovsdb", "--config-file", "edge.conf", "plugins")
    assert re.search(r"1 +edge +dfovsdb-edge +dfovsdb_edge.classifier:EdgeClassifier", listed)
    assert re.search(r"1 +edge +dfovsdb-edge +dfovsdb_edge.sink:EdgeSink", listed)


def test_a_generated_package_classifies_a_real_port(generated: Package, switch: Sandbox) -> None:
    command = ("dfovsdb", "--config-file", "edge.conf", "watch", "--once", switch.connection)
    assert re.search(r"online +edge +edge0 .*iface_id=p1", generated.run(*command))


def test_a_generated_configuration_has_a_place_for_the_connection(
    generated: Package, switch: Sandbox
) -> None:
    text = (generated.folder / "edge.conf").read_text()
    assert text.count("\n#connection = unix:") == 1
    configured = re.sub(r"#connection = .*", f"connection = {switch.connection}", text)
    (generated.folder / "here.conf").write_text(configured)
    said = generated.run("dfovsdb", "--config-file", "here.conf", "watch", "--once")
    assert re.search(r"online +edge +edge0 .*iface_id=p1", said)


@pytest.mark.parametrize("name", ["", "Dhcp", "1st", "a b", "../x", "a--b", "-a"])
def test_a_name_that_will_not_do_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid name"):
        scaffold.write(name, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="already has a classifier 'vm'"):
        scaffold.write("vm", tmp_path)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    scaffold.write("edge", tmp_path)
    with pytest.raises(ConfigurationError, match="dfovsdb-edge already exists"):
        scaffold.write("dfovsdb-edge", tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        scaffold.write("edge", tmp_path / "nowhere")
