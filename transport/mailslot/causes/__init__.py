"""Maps a refusal to its cause (``rules.toml``), and each cause to its consequences (``causes.toml``)."""
