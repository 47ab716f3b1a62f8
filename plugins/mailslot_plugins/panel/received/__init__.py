"""What came in: faxes, mail to print, requests, and what became of each."""
