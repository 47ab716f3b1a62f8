"""The pages on which owners of mailboxes sign in for devices of a fleet, and to which administrators are redirected."""
