"""What a refusal means (``rules.toml``), and what follows from each cause (``causes.toml``)."""
