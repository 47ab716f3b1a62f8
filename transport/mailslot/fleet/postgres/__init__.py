"""A fleet in PostgreSQL. No other package has SQL for it.

psycopg 3 is the driver, since procrastinate, which will carry the wake-ups, uses it too: a wake-up is then written in
the transaction of what it is for. It is under the LGPL, which allows its use here, and comes with the extra only.
"""
