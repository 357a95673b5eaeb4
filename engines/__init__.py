"""The only way to run a model: its specification, the Engine protocol, and one module per runner."""
