"""Rank the best right item of a gallery for each query, without computing all scores at once."""

from __future__ import annotations

import torch

TIE = 1e-6  # cosines that are no further apart are equal: sums in another order differ by less
_QUERIES, _ITEMS = 1024, 16384  # of a block of scores
_PAIRS = 2**16


def rank(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    query: torch.Tensor,
    item: torch.Tensor,
    own: torch.Tensor | None = None,
) -> torch.Tensor:
    """[q] int64, from 1: one more than the number of wrong items that score no less than the best right one.

    `queries` [q, D] and `gallery` [g, D] are compared by cosine. `query` and `item` [p] are the right pairs, sorted by
    query; `own` [p] are these pairs' scores, if they are not their cosines. A query without a right item ranks last.
    """
    device = queries.device
    query, item, gallery = query.to(device).contiguous(), item.to(device), gallery.to(device)
    own = _cosines(queries, gallery, query, item) if own is None else own.to(device)
    best = torch.full((len(queries),), -torch.inf, device=device).scatter_reduce(0, query, own, "amax")
    before = torch.zeros(len(queries), dtype=torch.int64, device=device)
    for start in range(0, len(queries), _QUERIES):
        block = _unit(queries[start : start + _QUERIES])
        least = best[start : start + _QUERIES, None] - TIE
        first, last = torch.searchsorted(query, torch.tensor([start, start + len(block)], device=device)).tolist()
        rows, columns = query[first:last] - start, item[first:last]
        for left in range(0, len(gallery), _ITEMS):
            items = _unit(gallery[left : left + _ITEMS])
            wrong = block @ items.T >= least  # [block, items]
            inside = (columns >= left) & (columns < left + len(items))
            wrong[rows[inside], columns[inside] - left] = False
            before[start : start + len(block)] += wrong.sum(1)
    return before + 1


def _cosines(queries: torch.Tensor, gallery: torch.Tensor, query: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """[p] cosines of the pairs."""
    parts = [
        (_unit(queries[rows]) * _unit(gallery[columns])).sum(1)
        for rows, columns in zip(query.split(_PAIRS), item.split(_PAIRS), strict=True)
    ]
    return torch.cat(parts)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    """Normalise in float32: float16 does not keep a length of 1."""
    return torch.nn.functional.normalize(vectors.float(), dim=1)
