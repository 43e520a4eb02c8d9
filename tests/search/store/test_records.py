"""Trials as the study holds them."""

from fake_runs import trial

from search.store.records import plain_of


def test_plain_dip_of_a_search_is_a_complete_candidate() -> None:
    sampled, failed = trial(0, 25.0, 20), trial(1, 25.0, 20, state="failed", candidate="baseline")
    assert plain_of([sampled, failed]) is None
    plain = trial(2, 25.0, 20, candidate="baseline")
    assert plain_of([sampled, failed, plain]) is plain
