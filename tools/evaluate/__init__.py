"""scanlight evaluate: what a model's scores are worth, measured against labels."""
