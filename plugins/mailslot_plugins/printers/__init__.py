"""Printers: IPP, folders and commands."""
