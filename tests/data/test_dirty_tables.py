from pathlib import Path

import dirty_tables
import pytest


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_table_is_read_as_written_or_refused_in_our_words(first: int, tmp_path: Path) -> None:
    outcomes = {dirty_tables.check(dirty_tables.make_table(tmp_path, seed)) for seed in range(first, first + 25)}
    assert "right" in outcomes and len(outcomes) > 1


def test_damage_that_is_not_seen_fails(tmp_path: Path) -> None:
    table = next(table for seed in range(100) if (table := dirty_tables.make_table(tmp_path, seed)).damage is None)
    table.rows[0] = ("another text", table.rows[0][1])
    with pytest.raises(AssertionError, match="other rows"):
        dirty_tables.check(table)
    table.damage = "short_row"
    with pytest.raises(AssertionError, match="was not seen"):
        dirty_tables.check(table)
