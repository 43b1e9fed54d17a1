"""Tenants: who may do what where, and what may talk to what. Pure."""
