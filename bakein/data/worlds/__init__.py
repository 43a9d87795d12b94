"""Worlds: sources of problems whose answers and steps can be verified."""
