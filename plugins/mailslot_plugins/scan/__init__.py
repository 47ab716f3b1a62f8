"""Scan-to-email: files, standard input or a scanner become mail, and so do the files of a watched folder."""
