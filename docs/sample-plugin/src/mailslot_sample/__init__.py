"""One of each kind of plugin for mailslot."""
