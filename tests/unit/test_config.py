"""The configuration: a bad value is one line, and every option is documented."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from dfovsdb import config, opts, unknown_options
from dfovsdb.errors import ConfigurationError
from dfovsdb.text.escape import one_line

pytestmark = pytest.mark.usefixtures("nobody_is_home")


def refusal(*files: object, dirs: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigurationError) as raised:
        config.load([str(file) for file in files], dirs)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_defaults_are_those_of_the_documentation(file: Path) -> None:
    file.touch()
    conf = config.load([str(file)])
    assert conf.ovsdb.connection == "tcp:127.0.0.1:6640"
    assert conf.dfovsdb.classifiers == [
        "patch",
        "tunnel",
        "bridge",
        "service",
        "vm",
        "uplink",
    ]
    assert conf.dfovsdb.sinks == ["log"]
    assert config.connection_options(conf) == {
        "monitor": "auto",
        "tables": ["Interface"],
        "inactivity_probe": 5,
        "reconnect_min": 1,
        "reconnect_max": 8,
        "max_message_size": 64 << 20,
        "ssl_key_file": None,
        "ssl_cert_file": None,
        "ssl_ca_cert_file": None,
        "ssl_check_hostname": True,
    }
    assert config.delivery_options(conf) == {
        "resync": "replay",
        "host": None,
        "queue_limit": 1000,
        "stop_timeout": 5,
        "state_dir": None,
    }


def test_values_are_read_from_files_and_folders(file: Path, tmp_path: Path) -> None:
    file.write_text("[ovsdb]\nconnection = unix:/a\nmonitor = rfc7047\n[dfovsdb]\nhost = a\n")
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "late.conf").write_text("[dfovsdb]\nhost = b\nsinks = log, audit=jsonl\n")
    conf = config.load([str(file)], [str(folder)])
    assert (conf.ovsdb.connection, conf.ovsdb.monitor) == ("unix:/a", "rfc7047")
    assert conf.dfovsdb.host == "b"
    assert conf.dfovsdb.sinks == ["log", "audit=jsonl"]


def test_environment_variables_win_over_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[ovsdb]\nconnection = unix:/a\nmonitor = rfc7047\n")
    monkeypatch.setenv("OS_OVSDB__CONNECTION", "unix:/b")
    monkeypatch.setenv("OS_DFOVSDB__SINKS", "log, audit=jsonl")
    monkeypatch.setenv("OS_HTTP__LISTEN", "9641")
    conf = config.load([str(file)])
    assert (conf.ovsdb.connection, conf.ovsdb.monitor) == ("unix:/b", "rfc7047")
    assert conf.dfovsdb.sinks == ["log", "audit=jsonl"]
    assert conf.http.listen == "9641"


def test_a_bad_environment_variable_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.touch()
    monkeypatch.setenv("OS_DFOVSDB__QUEUE_LIMIT", "many")
    assert refusal(file).startswith("[dfovsdb] queue_limit: ")


def test_without_a_file_there_are_the_defaults() -> None:
    assert config.load().dfovsdb.resync == "replay"


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    assert refusal(file) == f"cannot read {file}: there is no such file"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refusal(dirs=(str(tmp_path / "none"),))


@pytest.mark.parametrize(
    ("text", "number"),
    [("no section", 1), ("[ovsdb\nmonitor = auto\n", 1), ("[ovsdb]\n = 5\n", 2)],
)
def test_of_a_malformed_file_the_line_is_named(file: Path, text: str, number: int) -> None:
    file.write_text(text)
    line = refusal(file)
    assert line.startswith(f"cannot read the configuration at {file}:{number}, ")
    assert "write [SECTION], NAME = VALUE or # COMMENT" in line


def test_of_several_files_the_one_that_is_not_utf8_is_named(file: Path, tmp_path: Path) -> None:
    file.write_text("[dfovsdb]\nhost = a\n")
    folder = tmp_path / "conf.d"
    folder.mkdir()
    for name, text in (("a.conf", b""), ("b.conf", b"# caf\xe9\n"), ("c.conf", b"")):
        (folder / name).write_bytes(text)
    assert f"cannot read {folder}/b.conf: it is not UTF-8" in refusal(file, dirs=(str(folder),))
    assert f"cannot read {folder}/b.conf: it is not UTF-8" in refusal(file, folder / "b.conf")


@pytest.mark.parametrize(
    ("group", "option", "value", "why"),
    [
        ("ovsdb", "monitor", "both", "'both'"),
        ("ovsdb", "inactivity_probe", "often", "'often'"),
        ("ovsdb", "inactivity_probe", "-1", "use 0 or more"),
        ("ovsdb", "inactivity_probe", "nan", "nan"),
        ("ovsdb", "inactivity_probe", "inf", "inf"),
        ("ovsdb", "reconnect_min", "0", "use 1 or more"),
        ("ovsdb", "reconnect_min", "soon", "'soon'"),
        ("ovsdb", "reconnect_max", "0.5", "use 1 or more"),
        ("ovsdb", "reconnect_max", "nan", "nan"),
        ("ovsdb", "max_message_size", "1", "use 65536 or more"),
        ("ovsdb", "max_message_size", "16MB", "'16MB'"),
        ("dfovsdb", "resync", "maybe", "'maybe'"),
        ("dfovsdb", "queue_limit", "0", "use 1 or more"),
        ("dfovsdb", "queue_limit", "1.5", "'1.5'"),
        ("dfovsdb", "stop_timeout", "-0.1", "use 0 or more"),
        ("dfovsdb", "stop_timeout", "inf", "inf"),
        ("dfovsdb", "stop_timeout", "never", "'never'"),
    ],
)
def test_a_bad_value_names_its_option_in_one_line(
    file: Path, group: str, option: str, value: str, why: str
) -> None:
    file.write_text(f"[{group}]\n{option} = {value}\n")
    line = refusal(file)
    assert line.startswith(f"[{group}] {option}: ")
    assert why in line
    assert "LocationInfo" not in line


def test_every_option_that_may_be_wrong_is_checked() -> None:
    """Those that cannot: any string and any list are read, and judged by who uses them."""
    judged_later = {"connection", "classifiers", "sinks", "host", "state_dir", "listen", "hosts"}
    judged_later |= {"tables"}
    judged_later |= {"ssl_key_file", "ssl_cert_file", "ssl_ca_cert_file"}
    checked = {
        "monitor",
        "inactivity_probe",
        "reconnect_min",
        "reconnect_max",
        "max_message_size",
        "resync",
        "queue_limit",
        "stop_timeout",
        "ssl_check_hostname",
    }
    options = {o.dest for group in opts.CORE_OPTIONS.values() for o in group}
    assert options == judged_later | checked


def test_every_option_is_listed_once_and_documented() -> None:
    groups = unknown_options.list_opts()
    names = [group for group, _ in groups]
    assert len(set(names)) == len(names)
    assert {"ovsdb", "dfovsdb", "classifier_bridge", "classifier_vm", "sink_jsonl"} <= {*names}
    for group, options in groups:
        assert options, group
        for option in options:
            assert option.help, f"[{group}] {option.name}"
            assert option.help.endswith("."), f"[{group}] {option.name}"


def test_a_sample_can_be_generated_and_read_again(file: Path) -> None:
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--namespace", "dfovsdb", "--wrap-width", "90"])
    sample = io.StringIO()
    generator.generate(conf, sample)
    text = sample.getvalue()
    for group, options in unknown_options.list_opts():
        assert f"[{group}]" in text
        for option in options:
            assert f"#{option.name} = " in text or f"#{option.name} =\n" in text, option.name
    file.write_text(text)
    assert config.load([str(file)]).ovsdb.monitor == "auto"


def test_one_line_has_no_line_breaks() -> None:
    assert one_line(ValueError("a\n  b\tc\r\n")) == "a b c"
