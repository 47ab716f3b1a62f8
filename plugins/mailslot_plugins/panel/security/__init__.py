"""Who may see and do what on the panel, and from where."""
