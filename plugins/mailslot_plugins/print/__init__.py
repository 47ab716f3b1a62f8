"""E-mail print: what is mailed to ``print.pop`` comes out of a printer."""
