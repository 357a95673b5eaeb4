"""What prepares a machine with a GPU and checks the engine on it."""
