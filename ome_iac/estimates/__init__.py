"""Estimates of speed from outside: asked in a process of their own, kept in the stack's lock, never by a preview."""
