"""Names that nothing reads: in the files, and in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfovsdb import config, unknown_options
from dfovsdb.errors import ConfigurationError
from dfovsdb.unknown_options import unread

pytestmark = pytest.mark.usefixtures("nobody_is_home")


def said(file: Path, text: str) -> list[str]:
    file.write_text(text)
    names = unread(config.load([str(file)]), environment={})
    return [message.removeprefix(f"{file}: ") for message, _ in names]


def said_of(*variables: str, text: str = "", file: Path) -> list[str]:
    file.write_text(text)
    return [
        message for message, _ in unread(config.load([str(file)]), dict.fromkeys(variables, "x"))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[ovsdb]\nconection = x",
            ("there is no option [ovsdb] conection; did you mean connection?"),
        ),
        (
            "[OVSDB]\nreconnect-max = 9",
            ("there is no option [OVSDB] reconnect-max; did you mean reconnect_max?"),
        ),
        ("[ovsdb]\ncolour = x", "there is no option [ovsdb] colour"),
        (
            "[ovsdb]\nqueue_limit = 9",
            ("there is no option [ovsdb] queue_limit; did you mean [dfovsdb] queue_limit?"),
        ),
        (
            "[DEFAULT]\nconnection = x",
            ("there is no option [DEFAULT] connection; did you mean [ovsdb] connection?"),
        ),
        ("[DEFAULT]\nlog_fil = x", "there is no option [DEFAULT] log_fil; did you mean log_file?"),
        ("[ovsbd]\nconnection = x", "there is no section [ovsbd]; did you mean [ovsdb]?"),
        ("[keystone]\nurl = x", "there is no section [keystone]"),
        ("[default]\ndebug = true", "there is no section [default]"),
        ("[sink_log]\nlevl = x", "there is no option [sink_log] levl; did you mean level?"),
    ],
)
def test_a_name_that_is_no_option_is_reported_with_the_nearest(
    file: Path, text: str, message: str
) -> None:
    assert said(file, text + "\n") == [message]


@pytest.mark.parametrize(
    "text",
    [
        "[ovsdb]\nconnection = unix:/a\n[dfovsdb]\nhost = a\n[http]\nlisten = 1",
        "[Ovsdb]\nmonitor = auto",
        "[DEFAULT]\ndebug = true\nlog_file = /x\nuse_stderr = true\ndefault_log_levels = a=INFO",
        "[DEFAULT]\nlogfile = /x\nlogdir = /x",  # older names of oslo.log
        "[dfovsdb]\nsinks = audit=jsonl, log\n[sink_audit]\npath = /x\n[sink_log]\nlevel = INFO",
        "[dfovsdb]\nclassifiers = d=match\n[classifier_d]\nkind = d\n",
    ],
)
def test_names_that_are_read_are_not_reported(file: Path, text: str) -> None:
    assert said(file, text + "\n") == []


def test_of_the_sample_configuration_nothing_is_reported(file: Path) -> None:
    """It has the sections of plugins that are not enabled, with every option commented out."""
    sample = Path(__file__).parents[2] / "docs" / "dfovsdb.conf.sample"
    assert said(file, sample.read_text()) == []


def test_a_section_of_a_plugin_that_is_not_enabled_has_words_of_its_own(file: Path) -> None:
    file.write_text("[sink_jsonl]\npath = x\n[classifier_match]\nkind = x\n[sink_nosuch]\na = b\n")
    assert [tuple(name) for name in unread(config.load([str(file)]), {})] == [
        (f"{file}: section [sink_jsonl] has no effect: sinks does not name jsonl", False),
        (
            f"{file}: section [classifier_match] has no effect: classifiers does not name match",
            False,
        ),
        (f"{file}: section [sink_nosuch] has no effect: sinks does not name nosuch", True),
    ]


def test_a_section_of_a_plugin_whose_instances_have_other_names_is_led_to_them(file: Path) -> None:
    text = "[dfovsdb]\nsinks = events=jsonl\n[sink_jsonl]\npath = x\n[sink_evnts]\npath = x\n"
    assert said(file, text) == [
        (
            "section [sink_jsonl] has no effect: sinks does not name jsonl; did you mean "
            "[sink_events]?"
        ),
        (
            "section [sink_evnts] has no effect: sinks does not name evnts; did you mean "
            "[sink_events]?"
        ),
    ]


def test_the_files_of_folders_are_looked_at_too(file: Path, tmp_path: Path) -> None:
    file.write_text("[ovsdb]\na_a = 1\n")
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "late.conf").write_text("[ovsdb]\nb_b = 1\n")
    (folder / "ignored").write_text("[ovsdb]\nc_c = 1\n")
    conf = config.load([str(file)], [str(folder)])
    assert config.files(conf) == [str(file), str(folder / "late.conf")]
    assert [message.partition(": ")[0] for message, _ in unread(conf, {})] == config.files(conf)


def test_a_variable_that_is_no_option_is_reported_with_the_nearest(file: Path) -> None:
    assert said_of(
        "OS_OVSDB__CONECTION",
        "OS_OVSBD__CONNECTION",
        "OS_SINK_JSONL__PATH",
        "OS_Dfovsdb__SINKS",
        file=file,
    ) == [
        "OS_Dfovsdb__SINKS: there is no such option; did you mean OS_DFOVSDB__SINKS?",
        "OS_OVSBD__CONNECTION: there is no section [ovsbd]; did you mean [ovsdb]?",
        "OS_OVSDB__CONECTION: there is no such option; did you mean OS_OVSDB__CONNECTION?",
        "OS_SINK_JSONL__PATH: section [sink_jsonl] has no effect: sinks does not name jsonl",
    ]


def test_a_variable_with_one_underscore_between_group_and_option_is_reported(file: Path) -> None:
    assert said_of(
        "OS_OVSDB_CONNECTION",
        "OS_DFOVSDB_STATEDIR",
        "OS_SINK_EVENTS_PATH",
        text="[dfovsdb]\nsinks = events=jsonl\n",
        file=file,
    ) == [
        "OS_DFOVSDB_STATEDIR: it is not read; did you mean OS_DFOVSDB__STATE_DIR?",
        "OS_OVSDB_CONNECTION: it is not read; did you mean OS_OVSDB__CONNECTION?",
        "OS_SINK_EVENTS_PATH: it is not read; did you mean OS_SINK_EVENTS__PATH?",
    ]


def test_variables_that_are_read_and_those_of_other_programs_are_not_reported(file: Path) -> None:
    assert (
        said_of(
            "OS_USERNAME",
            "OS_CLOUD",
            "OS_AUTH_URL",
            "OS_DEFAULT__TRANSPORT_URL",
            "OS_OVS__OVSDB_CONNECTION",
            "OS_DATABASE__CONNECTION",
            "HOME",
            "OS__X",
            "OS_OVSDB__CONNECTION",
            "OS_DFOVSDB__SINKS",
            "OS_SINK_EVENTS__PATH",
            "OS_HTTP__LISTEN",
            "OS_OVSDB_USER",
            "OS_METRICS_DIR",
            "OS_CONNECTION",
            "OS_DEBUG",
            "OS_DEFAULT_DEBUG",
            "OS_LOG_FILE",
            text="[dfovsdb]\nsinks = events=jsonl\n",
            file=file,
        )
        == []
    )


def test_a_plugin_that_is_not_installed_is_named(file: Path) -> None:
    file.write_text("[dfovsdb]\nsinks = nosuch\n")
    with pytest.raises(ConfigurationError, match="sink 'nosuch' is not installed"):
        list(unread(config.load([str(file)]), {}))


# Secrets that others can read.


def test_files_with_secrets_that_all_can_read_are_named(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("")
    file = tmp_path / "dfovsdb.conf"
    file.write_text(
        f"[ovsdb]\nssl_key_file = {key}\n[dfovsdb]\nsinks = webhook\n"
        f"[sink_webhook]\nurl = https://a/secret\nsecret_file = {tmp_path}/none\n"
    )
    conf = config.load([str(file)])
    key.chmod(0o600)
    file.chmod(0o640)
    assert list(unknown_options.exposed(conf)) == []
    key.chmod(0o604)
    file.chmod(0o644)
    assert list(unknown_options.exposed(conf)) == [
        f"[ovsdb] ssl_key_file = {key}: every user can read it; chmod 0600",
        f"{file} holds [sink_webhook] url, and every user can read it; chmod 0640",
    ]


@pytest.mark.parametrize(
    ("listen", "warned"),
    [("9641", False), ("127.0.0.1:9641", False), ("0.0.0.0:9641", True), ("[::]:9641", True)],
)
def test_listening_on_every_address_is_said(tmp_path: Path, listen: str, warned: bool) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(f"[http]\nlisten = {listen}\n")
    said = list(unknown_options.exposed(config.load([str(file)])))
    assert [f"[http] listen = {listen}: every host" in line for line in said] == [True] * warned
