"""The durable queue, the ledger of mail already fetched, and the small memory of the pipelines."""
