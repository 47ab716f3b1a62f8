"""Internet Fax (ITU-T T.37): pages as TIFF-FX, sent and received by mail."""
