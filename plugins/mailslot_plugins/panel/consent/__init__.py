"""Pages where owners of mailboxes sign in for devices of a fleet, and where administrators' answers come in."""
