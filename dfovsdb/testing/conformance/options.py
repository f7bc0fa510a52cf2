"""Tests of the options of every plugin."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from oslo_config import cfg

from dfovsdb.classifiers.base import Classifier
from dfovsdb.sinks.base import Sink


def check_options(plugin: type[Classifier | Sink]) -> None:
    """Assert that each may be passed to `__init__`, which has a default if it needs one."""
    fine = isinstance(plugin.options, Sequence) and all(
        isinstance(option, cfg.Opt) for option in plugin.options
    )
    assert fine, (
        "options is not a list of oslo.config options; a single one needs its comma, "
        "`options = (cfg.StrOpt(…),)`"
    )
    parameters = inspect.signature(plugin).parameters
    for option in plugin.options:
        assert option.dest in parameters, (
            f"option {option.name} is not an argument of {plugin.__name__}.__init__"
        )
        parameter = parameters[option.dest]
        assert option.required or parameter.default is not parameter.empty, (
            f"option {option.name} is not required, but argument {option.dest} has no default"
        )
