"""How a finding reaches others: one module for each carrier."""
