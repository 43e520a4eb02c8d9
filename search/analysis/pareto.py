"""Pareto fronts of two objectives: max_psnr_gt_db is maximised, steps_to_max minimised."""

from __future__ import annotations

from collections.abc import Sequence

from search.experiment.objectives import Score


def dominates(a: Score, b: Score) -> bool:
    """Return whether `a` is at least as good in both objectives and better in one."""
    return a.max_psnr_gt_db >= b.max_psnr_gt_db and a.steps_to_max <= b.steps_to_max and a != b


def strictly_dominates(a: Score, b: Score) -> bool:
    """Return whether `a` is strictly better in both objectives."""
    return a.max_psnr_gt_db > b.max_psnr_gt_db and a.steps_to_max < b.steps_to_max


def front(scores: Sequence[Score]) -> list[int]:
    """Return the indices of the nondominated scores, fewest steps first.

    Equal scores are all kept. Scores that are not finite are never on the front.
    """
    order = sorted(
        (i for i, score in enumerate(scores) if score.finite),
        key=lambda i: (scores[i].steps_to_max, -scores[i].max_psnr_gt_db, i),
    )
    kept: list[int] = []
    for i in order:
        if not kept or not dominates(scores[kept[-1]], scores[i]):
            kept.append(i)
    return kept


def knee(scores: Sequence[Score]) -> int:
    """Return the index of the knee: the point farthest above the line between the front's ends.

    Both objectives are first scaled to the front's own range. Ties, and fronts of one or two
    points, are decided by the highest PSNR. Raises ValueError for an empty front.
    """
    members = front(scores)
    if not members:
        raise ValueError("an empty front has no knee")
    first, last = scores[members[0]], scores[members[-1]]
    steps = last.steps_to_max - first.steps_to_max
    psnr = last.max_psnr_gt_db - first.max_psnr_gt_db

    def height(i: int) -> float:
        if steps == 0 or psnr == 0:
            return 0.0
        return (scores[i].max_psnr_gt_db - first.max_psnr_gt_db) / psnr - (
            scores[i].steps_to_max - first.steps_to_max
        ) / steps

    return max(members, key=lambda i: (round(height(i), 12), scores[i].max_psnr_gt_db, -i))


def hypervolume(scores: Sequence[Score], reference: Score) -> float:
    """Return the area (dB · iterations) that the front dominates, bounded by the reference point.

    Scores that do not dominate the reference point contribute nothing.
    """
    inside = [s for s in (scores[i] for i in front(scores)) if dominates(s, reference)]
    area, left_psnr = 0.0, reference.max_psnr_gt_db
    for score in inside:
        if score.max_psnr_gt_db > left_psnr:
            area += (score.max_psnr_gt_db - left_psnr) * (
                reference.steps_to_max - score.steps_to_max
            )
            left_psnr = score.max_psnr_gt_db
    return area
