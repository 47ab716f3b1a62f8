"""Scan-to-email: files, standard input, a scanner or a watched folder become mail."""
