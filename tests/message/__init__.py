"""Tests of `mailslot.message`."""
