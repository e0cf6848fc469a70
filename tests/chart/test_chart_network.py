"""Whom the pods of a release reach, and who reaches them."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

from tests.support.chart import environment_of, one, rendered
from tests.support.chart_values import EXTERNAL


def test_workers_reach_the_broker_and_the_outside_and_no_private_address() -> None:
    manifests = rendered()
    egress = one(manifests, "NetworkPolicy", "worker")["spec"]["egress"]
    ports = sorted(port["port"] for rule in egress for port in rule["ports"])
    assert ports == [53, 53, 443, 5353, 5353, 6379]
    blocks = [peer["ipBlock"] for rule in egress for peer in rule["to"] if "ipBlock" in peer]
    open_to = {block["cidr"]: block["except"] for block in blocks if "except" in block}
    private = ("10.1.2.3", "100.100.100.200", "169.254.169.254", "fd00:ec2::254", "fe80::1")
    for address in map(ip_address, private):
        (around,) = [excepts for cidr, excepts in open_to.items() if address in ip_network(cidr)]
        assert any(address in ip_network(each) for each in around)
    # Of one family each, within its block: else the policy is refused.
    for cidr, excepts in open_to.items():
        assert all(ip_network(each).version == ip_network(cidr).version for each in excepts)
    database = one(manifests, "NetworkPolicy", "database")["spec"]["ingress"][0]["from"][0]["podSelector"]
    (expression,) = database["matchExpressions"]
    assert "worker" not in expression["values"]
    assert one(manifests, "NetworkPolicy", "worker")["spec"]["ingress"] == []


def test_workers_ask_the_clusters_dns_a_cache_on_their_node_and_whatever_else_answers() -> None:
    def asked(values: dict[str, Any]) -> list[Any]:
        egress = one(rendered(values), "NetworkPolicy", "worker")["spec"]["egress"]
        (rule,) = (each for each in egress if each["ports"][0]["port"] == 53)
        found: list[Any] = rule["to"]
        return found

    cluster, cache = asked({})
    assert cluster["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}
    elsewhere = [{"ipBlock": {"cidr": "169.254.169.254/32"}}]
    assert asked({"networkPolicies": {"workerDnsTo": elsewhere}}) == elsewhere


def test_workers_reach_a_broker_of_the_operators_own() -> None:
    def rules(**given: Any) -> list[dict[str, Any]]:
        manifests = rendered({**EXTERNAL, "networkPolicies": given})
        egress = one(manifests, "NetworkPolicy", "worker")["spec"]["egress"]
        return [each for each in egress if each["ports"][0]["port"] not in (53, 443)]

    # Nothing of the release is a broker then, and its address is in a secret.
    assert rules() == [{"ports": [{"protocol": "TCP", "port": 6379}]}]
    peers = [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
    assert rules(workerBrokerTo=peers, workerBrokerPort=6380) == [
        {"to": peers, "ports": [{"protocol": "TCP", "port": 6380}]}
    ]


def test_workers_reach_a_store_in_the_cluster_by_its_pods() -> None:
    def rules(**given: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = one(rendered({"networkPolicies": given}), "NetworkPolicy", "worker")["spec"][
            "egress"
        ]
        return found

    # Cilium applies a range to no pod of the cluster.
    peers = [{"namespaceSelector": {"matchLabels": {"name": "minio"}}, "podSelector": {}}]
    added = [each for each in rules(workerEgressTo=peers, workerEgressToPorts=[9000, 9443]) if each not in rules()]
    assert added == [{"to": peers, "ports": [{"protocol": "TCP", "port": port} for port in (9000, 9443)]}]


def test_workers_reach_the_agent_that_gives_them_the_keys_of_their_store_as_the_page_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    (text,) = re.findall(r"`(networkPolicies: \{.*169\.254\.170\.23/32.*\})`", page)
    values = yaml.safe_load(text)

    def rules(values: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = one(rendered(values), "NetworkPolicy", "worker")["spec"]["egress"]
        return found

    assert [each for each in rules(values) if each not in rules({})] == [
        {"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}], "ports": [{"protocol": "TCP", "port": 80}]}
    ]
    # Rules add up: what the open ones leave out is reached where another names it.
    assert [each for each in rules({}) if each not in rules(values)] == []


def test_callers_behind_an_ingress_are_told_apart_and_an_operator_says_otherwise() -> None:
    def proxies(values: dict[str, Any]) -> str | None:
        return environment_of(one(rendered(values), "Deployment", "api")).get("REPROFARM_PROXIES")

    ingress = {"api": {"ingress": {"enabled": True, "host": "farm.example"}}}
    assert proxies({}) is None
    assert proxies(ingress) == "1"
    assert proxies({**ingress, "settings": {"REPROFARM_PROXIES": 2}}) == "2"


def test_the_api_listens_where_pods_have_ipv6_alone_if_told_so() -> None:
    values = {"settings": {"REPROFARM_API_HOST": "::"}}
    assert environment_of(one(rendered(values), "Deployment", "api"))["REPROFARM_API_HOST"] == "::"
    assert environment_of(one(rendered(), "Deployment", "api"))["REPROFARM_API_HOST"] == "0.0.0.0"  # noqa: S104
