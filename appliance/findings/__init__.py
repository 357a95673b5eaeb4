"""What is said about a series: the record, its identity, and the objects that go with it."""
