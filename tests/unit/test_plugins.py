"""Finding and building plugins, with packages installed into a folder of the test."""

from __future__ import annotations

import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from dfovsdb import config, entry_points, plugins, unknown_options
from dfovsdb.classifiers.bridge import BridgeClassifier
from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.classifiers.patch import PatchClassifier
from dfovsdb.classifiers.service import ServiceClassifier
from dfovsdb.classifiers.tunnel import TunnelClassifier
from dfovsdb.classifiers.uplink import UplinkClassifier
from dfovsdb.classifiers.vm import VmClassifier
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import port_of
from dfovsdb.monitor import Monitor
from dfovsdb.plugins import CLASSIFIERS, SINKS
from dfovsdb.selection import Selection
from dfovsdb.sinks.jsonl import JsonlSink
from dfovsdb.sinks.log import LogSink
from dfovsdb.testing import interface

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package: its name, the code of its module, its entry points by group."""
    before = set(sys.modules)

    def install(package: str, code: str, **entry_points: str) -> None:
        module = "installed_" + package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [
            f"[dfovsdb.{group}]\n{name} = {module}:{target}"
            for group, points in entry_points.items()
            for name, target in [points.split("=")]
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("installed_"):
            del sys.modules[name]


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], cfg.ConfigOpts]:
    """Reads a configuration from its text."""

    def configured(text: str) -> cfg.ConfigOpts:
        file = tmp_path / "dfovsdb.conf"
        file.write_text(textwrap.dedent(text))
        return config.load([str(file)])

    return configured


def refusal(*names: str, conf: cfg.ConfigOpts | None = None) -> str:
    """Build sinks that cannot be built; returns why, which is one line."""
    with pytest.raises(ConfigurationError) as raised:
        SINKS.build(names, conf)
    assert "\n" not in str(raised.value)
    return str(raised.value)


A_SINK = """
    from dfovsdb.sinks.base import Sink

    class ASink(Sink):
        def emit(self, event):
            pass
"""


# What there is.


def test_the_plugins_of_this_package_are_installed() -> None:
    ours = {name for name, _ in CLASSIFIERS.ours()}
    assert ours == {
        "patch",
        "tunnel",
        "bridge",
        "service",
        "vm",
        "uplink",
        "match",
        "ovn_kubernetes",
        "kube_ovn",
        "antrea",
        "ovs_cni",
        "xen",
        "proxmox",
    }
    assert {"log", "jsonl"} <= {found.name for found in SINKS.installed()}


def test_the_default_classifiers_are_built_in_their_order() -> None:
    assert [type(classifier) for classifier in plugins.default_classifiers()] == [
        PatchClassifier,
        TunnelClassifier,
        BridgeClassifier,
        ServiceClassifier,
        VmClassifier,
        UplinkClassifier,
    ]


def test_an_installed_package_is_found_and_built(install: Install) -> None:
    install("far-away", A_SINK, sinks="far=ASink")
    (found,) = [found for found in SINKS.installed() if found.name == "far"]
    assert (found.package, found.value) == ("far-away", "installed_far_away:ASink")
    built = SINKS.build(["far"])
    assert type(built["far"]).__name__ == "ASink"


def test_only_what_is_named_is_imported(install: Install) -> None:
    install("bystander", "raise SystemExit('imported')", sinks="bystander=ASink")
    install("far-away", A_SINK, sinks="far=ASink")
    SINKS.build(["far"])
    SINKS.installed()
    list(SINKS.table(["far"]))
    assert "installed_far_away" in sys.modules
    assert "installed_bystander" not in sys.modules


def test_the_table_has_what_is_enabled_in_order_and_then_the_others(install: Install) -> None:
    install("far-away", A_SINK, sinks="far=ASink")
    lines = list(SINKS.table(["audit=jsonl", "nosuch", "log"]))
    cells = [line.split() for line in lines]
    assert cells[0] == ["1", "audit=jsonl", "dfovsdb", "dfovsdb.sinks.jsonl:JsonlSink"]
    assert cells[1] == ["!", "nosuch", "not", "installed"]
    assert lines[2].startswith("    sink 'nosuch' is not installed; available: ")
    assert cells[3] == ["3", "log", "dfovsdb", "dfovsdb.sinks.log:LogSink"]
    assert ["-", "far", "far-away", "installed_far_away:ASink"] in cells[4:]
    assert not any("jsonl" in cell for cell in cells[4:])
    assert len({line.index(line.split()[1]) for line in lines if line != lines[2]}) == 1


def test_the_table_shows_both_packages_of_a_doubled_plugin(install: Install) -> None:
    install("one", A_SINK, sinks="double=ASink")
    install("two", A_SINK, sinks="double=ASink")
    one, two, why, *_ = SINKS.table(["double"])
    assert one.split()[:3] == ["!", "double", "one"]
    assert two.split()[:3] == ["!", "double", "two"]
    assert why == "    sink 'double' is provided by one and two; uninstall one of them"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module_at_all", "cannot be imported from installed_broken:ASink: Module"),
        ("raise SystemExit(3)", "SystemExit(3), at installed_broken.py:1"),
        ("\nraise KeyboardInterrupt", "KeyboardInterrupt(), at installed_broken.py:2"),
        ("assert False, 'never'", "AssertionError('never'), at installed_broken.py:1"),
        (A_SINK + "\n        def __init__(self): raise KeyError('no\\nluck')\n", "KeyError('no"),
        ("class ASink: pass", "does not implement the contract"),
        (A_SINK + "\n        options = 5\n", "not a list of oslo.config options"),
    ],
)
def test_the_table_says_why_an_enabled_plugin_cannot_be_used(
    install: Install, code: str, why: str
) -> None:
    install("broken", code, sinks="broken=ASink")
    first, broken, reason, last, *_ = SINKS.table(["jsonl", "mine=broken", "log"])
    assert first.split()[:2] == ["1", "jsonl"]
    assert broken.split() == ["!", "mine=broken", "broken", "installed_broken:ASink"]
    assert reason.startswith("    sink '")
    assert why in reason
    assert "\n" not in reason
    assert last.split()[:2] == ["3", "log"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("cfg.StrOpt('one')", "its options are not a list of oslo.config options: TypeError"),
        ("('path',)", "its options are not a list of oslo.config options: AttributeError"),
        ("(cfg.StrOpt('path'), cfg.IntOpt('path'))", "its option path occurs twice$"),
    ],
)
def test_options_that_are_no_options_are_named_wherever_they_are_read(
    install: Install,
    configured: Callable[[str], cfg.ConfigOpts],
    options: str,
    why: str,
) -> None:
    code = f"{A_SINK}\n        from oslo_config import cfg\n        options = {options}\n"
    install("broken", code, sinks="broken=ASink")
    conf = configured("[dfovsdb]\nsinks = broken\n")
    for read in (unknown_options.unread, unknown_options.exposed):
        with pytest.raises(ConfigurationError, match=f"cannot be built: {why}"):
            list(read(conf))


def test_the_line_of_an_option_that_cannot_be_made_is_that_of_its_author(
    install: Install,
) -> None:
    install(
        "broken", "from oslo_config import cfg\ncfg.IntOpt('n', default='x')", sinks="broken=ASink"
    )
    with pytest.raises(ConfigurationError, match=r"at installed_broken\.py:2$"):
        SINKS.build(["broken"])


def test_the_table_says_what_is_wrong_with_an_option(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    conf = configured("[classifier_odd]\nlocal_port = perhaps\n")
    lines = list(CLASSIFIERS.table(["vm", "odd=bridge", "mine=match", "vm"], conf))
    assert [line.split()[0] for line in lines[:8:2]] == ["!", "!", "!", "!"]
    assert lines[1] == lines[7] == "    [dfovsdb] classifiers: vm occurs twice"
    assert lines[3].startswith("    [classifier_odd] local_port: ")
    assert lines[5] == "    [classifier_mine] kind is required"


def test_a_classifier_that_could_not_start_is_found_when_it_is_built(install: Install) -> None:
    code = """
        from dfovsdb import Classifier

        class AClassifier(Classifier):
            kind = "flow"
            columns = frozenset({"statistics"})

            def classify(self, interface):
                return None
        """
    install("flows", code, classifiers="flow=AClassifier")
    _, why, *_ = CLASSIFIERS.table(["flow"])
    assert why.startswith("    [classifier_flow] classifier flow declares the column statistics")


# Instances.


def test_an_entry_point_may_have_several_instances_each_with_its_options(
    configured: Callable[[str], cfg.ConfigOpts], tmp_path: Path
) -> None:
    conf = configured(
        f"""
        [sink_jsonl]
        path = {tmp_path}/plain.jsonl
        [sink_audit]
        path = {tmp_path}/audit.jsonl
        """
    )
    built = SINKS.build(["jsonl", "audit = jsonl", "log"], conf)
    assert list(built) == ["jsonl", "audit", "log"]
    plain, audit, log = built.values()
    assert isinstance(plain, JsonlSink)
    assert isinstance(audit, JsonlSink)
    assert isinstance(log, LogSink)
    assert (plain.path, audit.path) == (f"{tmp_path}/plain.jsonl", f"{tmp_path}/audit.jsonl")


def test_classifiers_read_their_options_from_their_group(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    conf = configured(
        """
        [classifier_bridge]
        names = br-int, br-tun
        local_port = false
        [classifier_dhcp]
        kind = dhcp
        names = tap*
        """
    )
    bridge, dhcp = CLASSIFIERS.build(["bridge", "dhcp=match"], conf).values()
    assert bridge.classify(interface(name="br-int", type="internal")) == {}
    assert bridge.classify(interface(name="br-ex", type="internal", ofport=65534)) is None
    assert isinstance(dhcp, MatchClassifier)
    assert dhcp.kind == "dhcp"


def test_without_a_configuration_plugins_have_their_defaults() -> None:
    (bridge,) = CLASSIFIERS.build(["bridge"]).values()
    assert bridge.classify(interface(name="br-x", type="internal")) == {}


@pytest.mark.parametrize("names", [("log", "log"), ("a=log", "a=jsonl"), ("log", "log=jsonl")])
def test_an_instance_that_is_there_twice_is_named(names: tuple[str, ...]) -> None:
    instance = names[0].partition("=")[0]
    assert refusal(*names) == f"[dfovsdb] sinks: {instance} occurs twice"


@pytest.mark.parametrize("name", ["=log", "log=", "=", "", " "])
def test_a_name_with_an_empty_part_is_refused(name: str) -> None:
    assert "[dfovsdb] sinks" in refusal(name)


# What cannot be built.


def test_a_missing_plugin_is_named_with_what_there_is() -> None:
    line = refusal("nosuch")
    assert "sink 'nosuch' is not installed" in line
    assert "jsonl" in line
    assert "log" in line


def test_a_plugin_of_two_packages_names_both(install: Install) -> None:
    install("zebra", A_SINK, sinks="double=ASink")
    install("ant", A_SINK, sinks="double=ASink")
    assert refusal("double") == (
        "sink 'double' is provided by ant and zebra; uninstall one of them"
    )


def test_a_package_that_shadows_one_of_ours_is_named(install: Install) -> None:
    install("shadow", A_SINK, sinks="log=ASink")
    assert "dfovsdb and shadow" in refusal("log")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise RuntimeError('no\\nway')", "RuntimeError('no"),
        ("import no_such_module_at_all", "no_such_module_at_all"),
        ("this is no python", "SyntaxError"),
        ("", "has no attribute 'ASink'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_names_its_package_and_why(
    install: Install, code: str, why: str
) -> None:
    install("broken-import", code, sinks="broken=ASink")
    line = refusal("broken")
    assert "sink 'broken' of package broken-import cannot be imported" in line
    assert "installed_broken_import:ASink" in line
    assert why in line


@pytest.mark.parametrize(
    "code",
    [
        "class ASink: pass",
        "def ASink(): pass",
        "ASink = 5",
        "from dfovsdb.classifiers.patch import PatchClassifier as ASink",
    ],
)
def test_a_plugin_that_is_no_subclass_names_the_contract(install: Install, code: str) -> None:
    install("stranger", code, sinks="strange=ASink")
    line = refusal("strange")
    assert "sink 'strange' of package stranger does not implement the contract" in line
    assert "not a subclass of dfovsdb.Sink" in line


def test_a_plugin_that_lacks_a_method_cannot_be_built(install: Install) -> None:
    install(
        "half-done",
        "from dfovsdb.sinks.base import Sink\nclass ASink(Sink): pass",
        sinks="half=ASink",
    )
    line = refusal("half")
    assert "sink 'half' of package half-done cannot be built" in line
    assert "emit" in line


def test_a_plugin_that_raises_in_init_names_its_instance_and_package(install: Install) -> None:
    install(
        "raiser",
        A_SINK + "\n        def __init__(self):\n            raise KeyError('no\\nluck')\n",
        sinks="raising=ASink",
    )
    line = refusal("mine=raising")
    assert "sink 'mine' of package raiser cannot be built" in line
    assert "KeyError" in line


def test_a_plugin_that_finds_its_options_wrong_is_named_by_its_group(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    conf = configured("[sink_out]\npath =\n")
    assert refusal("out=jsonl", conf=conf).startswith("[sink_out] option path is empty")


def test_an_option_with_a_value_that_is_not_allowed_is_one_line(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    conf = configured("[sink_log]\nlevel = LOUD\n")
    line = refusal("log", conf=conf)
    assert line.startswith("[sink_log] level: ")
    assert "LOUD" in line


def test_a_required_option_that_is_missing_is_one_line(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    for text in ("", "[classifier_mine]\nkind =\n"):
        with pytest.raises(ConfigurationError, match=r"\[classifier_mine\] kind is required"):
            CLASSIFIERS.build(["mine=match"], configured(text))
    with pytest.raises(ConfigurationError, match="match"):
        CLASSIFIERS.build(["match"])


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("KeyError(token)", "KeyError('***')"),
        ("DfovsdbError('bad: ' + token)", "[sink_far] bad: ***"),
    ],
)
def test_a_secret_is_in_no_error(
    install: Install, configured: Callable[[str], cfg.ConfigOpts], error: str, shown: str
) -> None:
    install(
        "far-away",
        A_SINK
        + f"""
        from dfovsdb import DfovsdbError
        from oslo_config import cfg
        options = (cfg.StrOpt("token", secret=True), cfg.IntOpt("pin", secret=True))

        def __init__(self, token=None, pin=None):
            from dfovsdb import DfovsdbError
            raise {error}
        """,
        sinks="far=ASink",
    )
    conf = configured("[sink_far]\ntoken = hunter2\n")
    with pytest.raises(ConfigurationError) as raised:
        SINKS.build(["far"], conf)
    assert shown in str(raised.value)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in "\n".join(SINKS.table(["far"], conf))
    message = refusal("far", conf=configured("[sink_far]\npin = hunter2\n"))
    assert (
        message
        == "[sink_far] pin: this value is not allowed (it is secret and therefore not shown)"
    )


def test_an_option_of_a_third_party_reaches_its_plugin(
    install: Install, configured: Callable[[str], cfg.ConfigOpts]
) -> None:
    install(
        "far-away",
        A_SINK
        + """
        from oslo_config import cfg
        options = (cfg.IntOpt("level-of-noise", default=1, min=0),)

        def __init__(self, level_of_noise=1):
            self.noise = level_of_noise
        """,
        sinks="far=ASink",
    )
    conf = configured("[sink_far]\nlevel_of_noise = 11\n")
    assert vars(SINKS.build(["far"], conf)["far"]) == {"noise": 11}
    conf = configured("[sink_far]\nlevel_of_noise = -1\n")
    assert refusal("far", conf=conf).startswith("[sink_far] level_of_noise: ")


def test_a_build_looks_at_the_installed_packages_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    look = entry_points.find

    def counted(group: str) -> list[entry_points.EntryPoint]:
        looked.append(group)
        return look(group)

    monkeypatch.setattr(entry_points, "find", counted)
    plugins.default_classifiers()
    assert looked == ["dfovsdb.classifiers"]


# The options that every sink has.


def test_every_sink_has_a_selection_in_its_section(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    conf = configured("[sink_log]\nkinds = vm, patch\nnames = tap*\n")
    sink = SINKS.build(["log"], conf)["log"]
    assert sink.selection is not None
    ports = [
        port_of(interface(name), kind, {})
        for name, kind in (("tap0", "vm"), ("tap1", "bridge"), ("eth0", "vm"), ("tap2", "patch"))
    ]
    assert [port.name for port in ports if sink.selection(port)] == ["tap0", "tap2"]


def test_a_sink_without_a_selection_receives_everything(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    assert SINKS.build(["log"], configured(""))["log"].selection is None


def test_an_option_of_the_sink_itself_is_passed_to_it(
    install: Install, configured: Callable[[str], cfg.ConfigOpts]
) -> None:
    code = """
        from oslo_config import cfg
        from dfovsdb import Sink

        class ASink(Sink):
            options = (cfg.StrOpt("kinds", default=""),)
            def __init__(self, kinds=""):
                self.mine = kinds
            def emit(self, event):
                pass
    """
    install("own", code, sinks="own=ASink")
    sink = SINKS.build(["own"], configured("[sink_own]\nkinds = all\nnames = tap*\n"))["own"]
    assert vars(sink)["mine"] == "all"
    assert sink.selection == Selection(names=["tap*"])


def test_a_selection_of_a_kind_that_nobody_offers_is_refused(
    configured: Callable[[str], cfg.ConfigOpts],
) -> None:
    sinks = SINKS.build(["log"], configured("[sink_log]\nkinds = vmm\n"))
    with pytest.raises(ConfigurationError, match=r"\[sink_log\] kinds: vmm: no enabled .* vm"):
        Monitor("unix:/none", sinks=sinks)
