"""The durable queue, the ledger of fetched mail, and the key-value stores of the pipelines."""
