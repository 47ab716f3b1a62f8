"""The sections of the settings, such as ``[fax]`` and ``[print]``."""
