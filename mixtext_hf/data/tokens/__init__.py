"""Sentences whose words have a label each: reading them, choosing few, aligning labels with word pieces."""
