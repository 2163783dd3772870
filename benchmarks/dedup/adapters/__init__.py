"""One peer each, run by the peer's own interpreter; `contract` says what an adapter reads and writes."""
