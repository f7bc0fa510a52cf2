"""The page of platforms: each configuration and recipe is read and does what it says."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import config, plugins
from dfovsdb.classifiers.chain import Chain
from dfovsdb.testing import interface

PAGE = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text()
TABLE = re.findall(r"`(classifiers = [^`]*)`", PAGE)
RECIPES = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)

#: A row that each recipe is about, by the name of its classifier.
ROWS: dict[str, dict[str, Any]] = {
    "docker": {
        "name": "a1b2c3d4e5f6g_l",
        "external_ids": {"container_id": "web", "container_iface": "eth1"},
    },
    "nm": {"name": "eno1", "external_ids": {"NM.connection.uuid": "9d3f"}},
    "lxd": {"name": "veth1a2b3c4d"},
    "mininet": {"name": "s1-eth1"},
    "nic": {"name": "lan0", "columns": {"status": {"driver_name": "ixgbe"}, "mtu": 9000}},
    "member": {"name": "eno1", "columns": {"Port.bond_mode": "balance-slb"}},
    "bfd": {
        "name": "vxlan-1",
        "type": "vxlan",
        "options": {"remote_ip": "10.0.0.1"},
        "columns": {"bfd_status": {"state": "up"}},
    },
    "representor": {"name": "enp4s0f0_1"},
    "dpf": {"name": "pf0hpf", "external_ids": {"dpf-id": "ns/name"}},
    "mirror": {"name": "mirror0", "type": "internal", "columns": {"Port.tag": 5}},
}


def chain(text: str, folder: Path) -> Chain:
    file = folder / "dfovsdb.conf"
    file.write_text(text)
    conf = config.load([str(file)])
    return Chain(list(plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()))


@pytest.mark.parametrize("line", TABLE)
def test_each_configuration_of_the_table_is_read(line: str, tmp_path: Path) -> None:
    assert chain(f"[dfovsdb]\n{line}\n", tmp_path).kinds


def test_the_table_has_every_classifier_of_a_platform() -> None:
    named = {name for line in TABLE for name in line.partition("=")[2].replace(" ", "").split(",")}
    ours = {name for name, _ in plugins.CLASSIFIERS.ours()}
    assert named == ours - {"match"}


@pytest.mark.parametrize("recipe", RECIPES, ids=re.findall(r"(\w+)=match", PAGE))
def test_each_recipe_claims_its_rows(recipe: str, tmp_path: Path) -> None:
    (name,) = re.findall(r"(\w+)=match", recipe)
    parser = configparser.ConfigParser()
    parser.read_string(recipe)
    built = chain(recipe, tmp_path)
    columns = dict.fromkeys(built.extra_columns) | ROWS[name].get("columns", {})
    port = built.port(interface(**ROWS[name] | {"columns": columns}), None)
    assert port is not None
    assert port.kind == parser[f"classifier_{name}"]["kind"]
    declared = parser[f"classifier_{name}"].get("attributes", "")
    assert len(port.attributes) == len([one for one in declared.split(",") if one.strip()])
    assert set(ROWS) == set(re.findall(r"(\w+)=match", PAGE))
