"""The options of the core; those of a plugin stand in the plugin."""

from __future__ import annotations

from oslo_config import cfg

from dfovsdb.defaults import DEFAULT_CLASSIFIERS, DEFAULT_CONNECTION, DEFAULT_SINKS

OVSDB_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "connection",
        default=DEFAULT_CONNECTION,
        help="Where ovsdb-server listens: unix:PATH, tcp:HOST:PORT, tcp:[IPv6]:PORT or "
        "ssl:HOST:PORT. The port is required.",
    ),
    cfg.StrOpt(
        "ssl_key_file",
        help="For ssl: connections, the private key of the client certificate: a PEM file that is "
        "not encrypted and readable only by the user of dfovsdb. Requires ssl_cert_file.",
    ),
    cfg.StrOpt(
        "ssl_cert_file",
        help="For ssl: connections, the client certificate, a PEM file. ovsdb-server usually "
        "requires one. If unset, no certificate is presented.",
    ),
    cfg.StrOpt(
        "ssl_ca_cert_file",
        help="For ssl: connections, the certificate of the CA that signed the certificate of the "
        "server, a PEM file. If unset, the CAs that the system trusts are used.",
    ),
    cfg.BoolOpt(
        "ssl_check_hostname",
        default=True,
        help="Require that the certificate of the server names the host of the connection. "
        "Certificates of ovs-pki name no host and need false here; anyone who holds any "
        "certificate of the CA can then impersonate the server.",
    ),
    cfg.StrOpt(
        "monitor",
        default="auto",
        choices=[
            ("auto", "monitor_cond, or monitor if the server does not support that"),
            ("rfc7047", "always the method monitor of RFC 7047"),
        ],
        help="The method that subscribes to the tables.",
    ),
    cfg.ListOpt(
        "tables",
        default=["Interface"],
        help="The tables to read: Interface alone, or Interface, Port, Bridge. With all three, "
        "ports have a bridge, VLANs (tag and trunks) and a bond.",
    ),
    cfg.FloatOpt(
        "inactivity_probe",
        default=5,
        min=0,
        help="Seconds without a message after which the server is probed. After as many further "
        "seconds the connection is closed. 0 disables probes; other values are at least 1.",
    ),
    cfg.FloatOpt(
        "reconnect_min",
        default=1,
        min=1,
        help="Shortest wait before another attempt to connect, in seconds. The first attempt "
        "after a lost connection is made at once, and the next 20 follow every 0.2 seconds.",
    ),
    cfg.FloatOpt(
        "reconnect_max",
        default=8,
        min=1,
        help="Longest wait before another attempt to connect, in seconds; at least reconnect_min.",
    ),
    cfg.IntOpt(
        "max_message_size",
        default=64 << 20,
        min=1 << 16,
        help="Largest message in bytes. A longer one ends the connection. The first message for "
        "50,000 interfaces has about 18 MB, and 27 MB with the tables Port and Bridge.",
    ),
)

DFOVSDB_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "classifiers",
        default=list(DEFAULT_CLASSIFIERS),
        help="Classifiers, in the order in which they are asked; the first one that claims an "
        "interface determines its kind. Each is the name of an entry point of "
        "dfovsdb.classifiers, or INSTANCE=ENTRYPOINT.",
    ),
    cfg.ListOpt(
        "sinks",
        default=list(DEFAULT_SINKS),
        help="Sinks that receive the events. Each is the name of an entry point of dfovsdb.sinks, "
        "or INSTANCE=ENTRYPOINT.",
    ),
    cfg.StrOpt(
        "resync",
        default="replay",
        choices=[
            ("replay", "send online for every present port again"),
            ("diff", "send only differences"),
        ],
        help="What sinks receive after a reconnect, and with state_dir after a restart. Ports "
        "that have disappeared in the meantime are reported offline with both values.",
    ),
    cfg.StrOpt(
        "host",
        sample_default="<host name>",
        help="Name of this host in events. If unset, the host name of the system.",
    ),
    cfg.IntOpt(
        "queue_limit",
        default=1000,
        min=1,
        help="Number of changes that may wait for one sink. Beyond that its queue is discarded, "
        "and the sink receives the differences to the present state instead.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=5,
        min=0,
        help="Seconds to wait for sinks to deliver the remaining events when dfovsdb stops.",
    ),
    cfg.StrOpt(
        "state_dir",
        help="Existing folder in which dfovsdb records what each sink has accepted, so that ports "
        "that disappear while dfovsdb is down are reported offline after a restart. If unset, "
        "nothing is written.",
    ),
)

HTTP_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "listen",
        deprecated_group="metrics",
        help="Address on which the page, /metrics, /healthz, /readyz and /ports are served: "
        "HOST:PORT, [IPv6]:PORT, or a PORT on 127.0.0.1. There is no authentication: use a "
        "loopback address or a trusted network. Needs the extra dfovsdb[http]. If unset, nothing "
        "listens.",
    ),
    cfg.ListOpt(
        "hosts",
        default=[],
        help="Further names by which browsers and Prometheus may ask for this listener, such as "
        "the DNS name of the host or of a reverse proxy. Requests for other names are refused; "
        "the address of the listener, and localhost for a loopback address, are always accepted.",
    ),
)

#: Options of every sink, in its own section; they are applied before the sink sees an event.
SINK_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "kinds",
        default=[],
        help="The kinds of ports that this sink receives. A port that changes to another kind "
        "goes offline for it. If empty, ports of all kinds.",
    ),
    cfg.ListOpt(
        "names",
        default=[],
        help="Shell patterns of the names of the ports that this sink receives, such as tap*. If "
        "empty, ports of all names.",
    ),
    cfg.BoolOpt(
        "isolate",
        default=False,
        help="Run this sink in a process of its own, where what it computes does not delay the "
        "other sinks. It takes about 25 MB of memory, and each call takes longer.",
    ),
)

CORE_OPTIONS = {
    "ovsdb": OVSDB_OPTIONS,
    "dfovsdb": DFOVSDB_OPTIONS,
    "http": HTTP_OPTIONS,
}
