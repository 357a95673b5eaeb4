"""Offline work, one module per command."""
