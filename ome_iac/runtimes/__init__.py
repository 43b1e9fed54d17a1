"""Serving engines: what they support, what they need, how they are started."""
