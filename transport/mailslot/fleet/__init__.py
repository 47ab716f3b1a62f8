"""Many devices in one database, on PostgreSQL; comes with the extra ``fleet``. No other package imports this one."""
