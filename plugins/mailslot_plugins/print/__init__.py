"""E-mail print: mail that arrives at ``print.pop`` is printed."""
