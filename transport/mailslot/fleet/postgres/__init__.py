"""A fleet in PostgreSQL. No other package has SQL for it.

The driver is psycopg 3, which procrastinate also uses. It is under the LGPL, which allows its use here, and comes with
the extra only.
"""
