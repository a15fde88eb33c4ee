"""How many examples hypothesis makes: few on each change, all of them in the profile `deep`."""

from __future__ import annotations

from hypothesis import settings


def examples(deep: int) -> settings:
    """So many examples in the profile `deep`, and a fifth of them otherwise."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=max(10, deep * profile.max_examples // 100), deadline=None)
