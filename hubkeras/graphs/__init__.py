"""A graph made into the graph that a call runs, and judged."""
