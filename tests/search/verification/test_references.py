"""What plain DIP is tuned over, beyond the ends of what was tried."""

from dipstage.schedules.recipe import Recipe
from search.verification.references import beyond_edges


def test_the_lowest_weight_of_the_average_is_none() -> None:
    """The spacing of 1 - ema would go on below 0, which no average has."""
    tried = [Recipe(learning_rate=0.01, ema=ema) for ema in (0.5, 0.9, 0.98)]
    [further] = beyond_edges(tried[0], tried, 800)
    assert further == Recipe(learning_rate=0.01, ema=0.0)
    assert beyond_edges(further, [further, *tried], 800) == []
