"""Decisions, pure and with their reasons: memory, parallelism, selection, placement, cost."""
