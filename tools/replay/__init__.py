"""scanlight replay: simulated scanners, an appliance that reads what they export, and what came of it."""
