"""Methods compared over seeds: the grid of runs, their table with intervals, and its figures."""
