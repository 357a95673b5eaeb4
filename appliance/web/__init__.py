"""The status page, the API and the metrics over HTTP: one thread, read only."""
