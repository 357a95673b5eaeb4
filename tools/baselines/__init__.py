"""What the network must be better than: measures of lung density, and classifiers on them."""
