"""The tables of a fleet as they first were; the steps since are in `mailslot.fleet.postgres.migrations`."""

from __future__ import annotations

from typing import Final

OF_DEVICE: Final = (
    "tenant bigint NOT NULL, device bigint NOT NULL, "
    "FOREIGN KEY (tenant, device) REFERENCES devices (tenant, id) ON DELETE CASCADE"
)
"""The columns of a table whose rows belong to a device."""

FIRST_TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE tenants (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        added_at timestamptz NOT NULL DEFAULT now()
    )""",
    # Data keys, each wrapped by the master key `master`. Without its row, the secrets of a tenant are gone.
    """CREATE TABLE data_keys (
        tenant bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
        id text NOT NULL,
        master text NOT NULL,
        wrapped bytea NOT NULL,
        added_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, id)
    )""",
    """CREATE TABLE devices (
        tenant bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        added_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (tenant, name),
        UNIQUE (tenant, id)
    )""",
    # Every transaction that writes for a device updates its row first, so they come one after the other.
    f"""CREATE TABLE device_state (
        {OF_DEVICE},
        PRIMARY KEY (device),
        changes bigint NOT NULL DEFAULT 0,
        last_job bigint NOT NULL DEFAULT 0,
        last_mail bigint NOT NULL DEFAULT 0,
        last_version bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)""",
    # The version never repeats for a device, also if a document was removed.
    f"""CREATE TABLE documents (
        {OF_DEVICE},
        name text NOT NULL,
        octets bytea NOT NULL,
        version bigint NOT NULL,
        written_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (device, name)
    )""",
    f"""CREATE TABLE leases (
        {OF_DEVICE},
        name text NOT NULL,
        owner uuid NOT NULL,
        until timestamptz NOT NULL,
        PRIMARY KEY (device, name)
    )""",
    f"""CREATE TABLE jobs (
        {OF_DEVICE},
        id bigint NOT NULL,
        PRIMARY KEY (device, id),
        state text NOT NULL,
        via text NOT NULL,
        pipeline text NOT NULL,
        next_attempt double precision,
        changed_at double precision NOT NULL,
        created_at double precision NOT NULL,
        expires_at double precision,
        lifetime double precision NOT NULL,
        attempts integer NOT NULL,
        doubts integer NOT NULL,
        file text,
        start bigint NOT NULL,
        size bigint NOT NULL,
        eight_bit boolean NOT NULL,
        smtputf8 boolean NOT NULL,
        delivering boolean NOT NULL DEFAULT false,
        cause text,
        message_id text NOT NULL,
        sender text NOT NULL,
        subject text NOT NULL,
        sentence text NOT NULL,
        reply text NOT NULL,
        notes text NOT NULL,
        recipients text NOT NULL,
        UNIQUE (device, file)
    )""",
    "CREATE INDEX jobs_by_state ON jobs (device, state, changed_at)",
    "CREATE INDEX jobs_due ON jobs (device, via, id) WHERE state IN ('queued', 'deferred')",
    "CREATE INDEX jobs_files ON jobs (device, size) WHERE file IS NOT NULL",
    f"""CREATE TABLE keys (
        {OF_DEVICE},
        pipeline text NOT NULL,
        key text NOT NULL,
        job bigint NOT NULL,
        state text,
        at double precision NOT NULL,
        PRIMARY KEY (device, pipeline, key)
    )""",
    "CREATE INDEX keys_by_job ON keys (device, job)",
    f"""CREATE TABLE mails (
        {OF_DEVICE},
        id bigint NOT NULL,
        PRIMARY KEY (device, id),
        record text NOT NULL,
        uid text NOT NULL,
        state text NOT NULL,
        tries integer NOT NULL,
        due_at double precision,
        fetched_at double precision NOT NULL,
        changed_at double precision NOT NULL,
        file text,
        size bigint NOT NULL,
        digest text NOT NULL,
        reason text NOT NULL,
        UNIQUE (device, file)
    )""",
    "CREATE INDEX mails_by_digest ON mails (device, record, digest)",
    "CREATE INDEX mails_by_state ON mails (device, record, state)",
    "CREATE INDEX mails_files ON mails (device, size) WHERE file IS NOT NULL",
    f"""CREATE TABLE uids (
        {OF_DEVICE},
        record text NOT NULL,
        uid text NOT NULL,
        mail bigint,
        passed_over boolean NOT NULL,
        tries integer NOT NULL,
        deleted boolean NOT NULL,
        seen_at double precision NOT NULL,
        size bigint,
        PRIMARY KEY (device, record, uid),
        FOREIGN KEY (device, mail) REFERENCES mails (device, id)
    )""",
    "CREATE INDEX uids_by_mail ON uids (device, mail)",
    f"""CREATE TABLE maildrops (
        {OF_DEVICE},
        record text NOT NULL,
        begun_at double precision NOT NULL,
        PRIMARY KEY (device, record)
    )""",
    f"""CREATE TABLE memory (
        {OF_DEVICE},
        store text NOT NULL,
        key text NOT NULL,
        value text NOT NULL,
        PRIMARY KEY (device, store, key)
    )""",
    # Losses of the database in a folder, before it was imported.
    f"""CREATE TABLE losses (
        {OF_DEVICE},
        at double precision NOT NULL,
        found bigint NOT NULL,
        damaged bigint NOT NULL
    )""",
    "CREATE INDEX losses_by_device ON losses (device, at)",
    # The messages of jobs and mails, in pieces; the rows of jobs and mails stay small.
    f"""CREATE TABLE messages (
        {OF_DEVICE},
        file text NOT NULL,
        piece integer NOT NULL,
        octets bytea NOT NULL,
        PRIMARY KEY (device, file, piece)
    )""",
    # Scans are compressed already.
    "ALTER TABLE messages ALTER COLUMN octets SET STORAGE EXTERNAL",
    # The names in an address of a device become numbers, also for the role that cannot read the tables of others.
    """CREATE FUNCTION find_device(tenant_name text, device_name text, OUT tenant bigint, OUT device bigint)
        RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = mailslot, pg_temp AS
        'SELECT devices.tenant, devices.id FROM devices JOIN tenants ON tenants.id = devices.tenant
         WHERE tenants.name = tenant_name AND devices.name = device_name'""",
)
