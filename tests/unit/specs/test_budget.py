"""What the operator's limits say of a claim."""

from __future__ import annotations

from specs.policy.budget import BudgetLimits, BudgetRules


def test_without_a_word_nothing_is_limited() -> None:
    rules = BudgetRules()
    assert not rules.by_the_day_at_all
    assert rules.approval_above(community=True) is None


def test_of_two_thresholds_a_community_claim_has_the_lower() -> None:
    rules = BudgetRules(approval_gpu_seconds=100, community=BudgetLimits(approval_gpu_seconds=10))
    assert (rules.approval_above(community=True), rules.approval_above(community=False)) == (10, 100)


def test_a_threshold_for_community_claims_alone_leaves_authors_alone() -> None:
    rules = BudgetRules(community=BudgetLimits(approval_gpu_seconds=0))
    assert (rules.approval_above(community=True), rules.approval_above(community=False)) == (0, None)


def test_a_limit_for_community_claims_alone_has_to_be_counted() -> None:
    assert BudgetRules(community=BudgetLimits(gpu_seconds_per_submitter=1)).by_the_day_at_all
