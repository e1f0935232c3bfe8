"""The table of vendors: the one place where their hosts are written, and what its rows must agree with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import llmfail
from llmfail.core.vendors import VENDORS, VENDORS_BY_NAME, is_vertex_host, vendor_at, vendor_of, vertex_host
from llmfail.settings import load
from llmfail.settings.reading.find import packaged_config_path

PACKAGE = Path(llmfail.__file__).parent
HOSTS = [host for vendor in VENDORS for host in vendor.hosts]
A_HOST = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, HOSTS))})(?![\w-])")
EXAMPLE = load(packaged_config_path(), {}, PACKAGE, PACKAGE / "no-state").providers


def test_no_other_module_writes_the_host_of_a_vendor():
    found = {
        f"{path.relative_to(PACKAGE)}: {match[0]}"
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "core" / "vendors.py"
        for match in A_HOST.finditer(path.read_text())
    }
    assert found == set()


def test_a_host_a_name_and_a_key_variable_belong_to_one_vendor():
    names = [name for vendor in VENDORS for name in (vendor.name, *vendor.aliases)]
    variables = [variable for vendor in VENDORS for variable in vendor.key_variables]
    assert len(set(names)) == len(names)
    assert len(set(HOSTS)) == len(HOSTS)
    assert len(set(variables)) == len(variables)


def test_a_vendor_with_several_hosts_has_a_title():
    assert {vendor.name for vendor in VENDORS if len(vendor.hosts) > 1 and not vendor.title} == set()


def test_a_wire_format_has_one_base_url_of_its_own():
    owners = [vendor for vendor in VENDORS if vendor.base_url is not None]
    assert len({vendor.api for vendor in owners}) == len(owners)
    for vendor in owners:
        assert (vendor.base_url or "").startswith(f"https://{vendor.hosts[0]}")


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.key_variables], ids=lambda vendor: vendor.name)
def test_the_example_asks_a_vendor_with_a_key_as_its_row_says(vendor):
    provider = EXAMPLE[vendor.name]
    assert provider.api == vendor.api
    assert provider.key_variable in vendor.key_variables
    assert provider.address == (vendor.hosts[0], "443")


def test_the_example_names_no_vendor_of_which_the_table_knows_nothing():
    assert {name for name in EXAMPLE if name not in VENDORS_BY_NAME} == {"local"}


def test_a_host_below_that_of_a_vendor_is_the_vendor_s():
    assert vendor_at("EU.api.openai.com") is VENDORS_BY_NAME["openai"]
    assert vendor_at("api.openai.com.example") is None
    assert vendor_at("") is None


def test_only_on_this_machine_a_name_makes_a_provider_a_vendor():
    assert vendor_of("Claude", "localhost") is VENDORS_BY_NAME["anthropic"]
    assert vendor_of("openai", "gateway.example") is None


@pytest.mark.parametrize("location", ["global", "us", "eu", "europe-west4"])
def test_vertex_is_at_a_host_of_google_s_wherever_it_is(location):
    host = vertex_host(location)
    assert is_vertex_host(host)
    found = vendor_at(host)
    assert found is not None
    assert found.price_list == "google"
