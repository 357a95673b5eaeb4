"""The acceptance test of an installation."""
