"""The migrations: the steps to each version of a fleet's tables. A released step is never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.roles import WORKER_ROLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_DEVICE: Final = (
    "tenant bigint NOT NULL, device bigint NOT NULL, "
    "FOREIGN KEY (tenant, device) REFERENCES devices (tenant, id) ON DELETE CASCADE"
)
"""The columns of a table whose rows belong to a device."""

MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    8: (
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
        # Every write transaction of a device updates its row first, so they are serialized. `last_writes` identifies
        # its last transactions, newest first.
        f"""CREATE TABLE device_state (
            {_OF_DEVICE},
            PRIMARY KEY (device),
            changes bigint NOT NULL DEFAULT 0,
            last_job bigint NOT NULL DEFAULT 0,
            last_mail bigint NOT NULL DEFAULT 0,
            last_version bigint NOT NULL DEFAULT 0,
            last_writes bigint[] NOT NULL DEFAULT '{{}}'
        ) WITH (fillfactor = 50)""",
        # The version never repeats for a device, also if a document was removed.
        f"""CREATE TABLE documents (
            {_OF_DEVICE},
            name text NOT NULL,
            octets bytea NOT NULL,
            version bigint NOT NULL,
            written_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (device, name)
        )""",
        # `ended_at`: when somebody first found that the lease had ended.
        f"""CREATE TABLE leases (
            {_OF_DEVICE},
            name text NOT NULL,
            owner uuid NOT NULL,
            until timestamptz NOT NULL,
            ended_at timestamptz,
            PRIMARY KEY (device, name)
        )""",
        f"""CREATE TABLE jobs (
            {_OF_DEVICE},
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
            {_OF_DEVICE},
            pipeline text NOT NULL,
            key text NOT NULL,
            job bigint NOT NULL,
            state text,
            at double precision NOT NULL,
            PRIMARY KEY (device, pipeline, key)
        )""",
        "CREATE INDEX keys_by_job ON keys (device, job)",
        f"""CREATE TABLE mails (
            {_OF_DEVICE},
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
            {_OF_DEVICE},
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
            {_OF_DEVICE},
            record text NOT NULL,
            begun_at double precision NOT NULL,
            PRIMARY KEY (device, record)
        )""",
        f"""CREATE TABLE memory (
            {_OF_DEVICE},
            store text NOT NULL,
            key text NOT NULL,
            value text NOT NULL,
            PRIMARY KEY (device, store, key)
        )""",
        # Losses of the database in a folder, before it was imported.
        f"""CREATE TABLE losses (
            {_OF_DEVICE},
            at double precision NOT NULL,
            found bigint NOT NULL,
            damaged bigint NOT NULL
        )""",
        "CREATE INDEX losses_by_device ON losses (device, at)",
        # The messages of jobs and mails, in pieces; the rows of jobs and mails stay small.
        f"""CREATE TABLE messages (
            {_OF_DEVICE},
            file text NOT NULL,
            piece integer NOT NULL,
            octets bytea NOT NULL,
            PRIMARY KEY (device, file, piece)
        )""",
        # Scans are compressed already.
        "ALTER TABLE messages ALTER COLUMN octets SET STORAGE EXTERNAL",
        # What workers have to do, and when; see `mailslot.fleet.postgres.tasks`. A task is looked at when `wake_at` has
        # come, which is later than `due_at` while a wake-up is under way.
        f"""CREATE TABLE tasks (
            {_OF_DEVICE},
            record text NOT NULL,
            kind text NOT NULL,
            due_at timestamptz NOT NULL,
            wake_at timestamptz NOT NULL,
            woken boolean NOT NULL DEFAULT false,
            period double precision NOT NULL DEFAULT 0,
            failures integer NOT NULL DEFAULT 0,
            cause text,
            PRIMARY KEY (device, record, kind)
        ) WITH (fillfactor = 70)""",
        "CREATE INDEX tasks_next ON tasks (tenant, wake_at)",
        "CREATE INDEX tasks_woken ON tasks (tenant, wake_at) WHERE woken",
        """CREATE FUNCTION hasten(of_tenant bigint, of_device bigint, of_record text, of_kind text, at timestamptz)
            RETURNS void LANGUAGE sql SET search_path = mailslot, pg_temp AS
            'INSERT INTO tasks AS known (tenant, device, record, kind, due_at, wake_at)
             VALUES (of_tenant, of_device, of_record, of_kind, at, at)
             ON CONFLICT (device, record, kind) DO UPDATE SET due_at = least(known.due_at, at),
             wake_at = least(known.wake_at, at) WHERE at < known.due_at OR at < known.wake_at'""",
        # A job that a worker has claimed is looked at again a minute later, when the lease of a dead one has ended.
        """CREATE FUNCTION plan_delivery() RETURNS trigger LANGUAGE plpgsql SET search_path = mailslot, pg_temp AS
            $$ BEGIN
                PERFORM hasten(NEW.tenant, NEW.device, '', 'deliver', CASE NEW.state
                    WHEN 'queued' THEN now()
                    WHEN 'deferred' THEN greatest(now(), to_timestamp(NEW.next_attempt))
                    ELSE greatest(now() + interval '1 minute', to_timestamp(coalesce(NEW.next_attempt, 0)))
                END);
                RETURN NULL;
            END $$""",
        """CREATE TRIGGER plan_delivery AFTER INSERT OR UPDATE OF state, next_attempt, delivering ON jobs
            FOR EACH ROW WHEN (NEW.state IN ('queued', 'deferred', 'sending', 'in_doubt') OR NEW.delivering)
            EXECUTE FUNCTION plan_delivery()""",
        # Whoever fetches a mail handles it at once, so others need not look before that.
        """CREATE FUNCTION plan_handling() RETURNS trigger LANGUAGE plpgsql SET search_path = mailslot, pg_temp AS
            $$ BEGIN
                PERFORM hasten(NEW.tenant, NEW.device, NEW.record, 'handle',
                    greatest(now() + interval '1 minute', to_timestamp(coalesce(NEW.due_at, 0))));
                RETURN NULL;
            END $$""",
        """CREATE TRIGGER plan_handling AFTER INSERT OR UPDATE OF state, due_at ON mails
            FOR EACH ROW WHEN (NEW.state = 'fetched') EXECUTE FUNCTION plan_handling()""",
        # Polls and renewals follow from the settings and the tokens, which only the device's keys open. When a device
        # is removed, its documents go after its own row.
        """CREATE FUNCTION plan_device() RETURNS trigger LANGUAGE plpgsql SET search_path = mailslot, pg_temp AS
            $$ DECLARE changed documents;
            BEGIN
                IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
                IF (changed.name = 'mailslot.toml' OR starts_with(changed.name, 'vault/'))
                    AND EXISTS (SELECT FROM devices WHERE id = changed.device) THEN
                    PERFORM hasten(changed.tenant, changed.device, '', 'plan', now());
                END IF;
                RETURN NULL;
            END $$""",
        """CREATE TRIGGER plan_device AFTER INSERT OR UPDATE OR DELETE ON documents
            FOR EACH ROW EXECUTE FUNCTION plan_device()""",
        # Servers that could not be reached; see `mailslot.fleet.postgres.servers`.
        """CREATE TABLE servers (
            name text NOT NULL,
            tenant bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
            PRIMARY KEY (name, tenant),
            failures integer NOT NULL DEFAULT 1,
            openings integer NOT NULL DEFAULT 0,
            for_all boolean NOT NULL DEFAULT false,
            until timestamptz,
            since timestamptz NOT NULL DEFAULT now(),
            failed_at timestamptz NOT NULL DEFAULT now(),
            stage text NOT NULL,
            cause text NOT NULL
        )""",
        "CREATE INDEX servers_by_tenant ON servers (tenant)",
        # What statistics count.
        "CREATE INDEX jobs_open ON jobs (tenant, state, created_at) WHERE state NOT IN ('sent', 'cancelled')",
        "CREATE INDEX mails_open ON mails (tenant, state) WHERE state <> 'done'",
        # The seals of documents with secrets; see `mailslot.fleet.postgres.seals`. One that was removed has none.
        f"""CREATE TABLE seals (
            {_OF_DEVICE},
            name text NOT NULL,
            generation bigint NOT NULL,
            key text,
            seal bytea,
            PRIMARY KEY (device, name)
        )""",
        # What workers count for metrics, who may read nothing else of these tables for all tenants. As views of their
        # owner's, they are not bound to one tenant.
        "CREATE VIEW jobs_of_all AS SELECT tenant, state, created_at FROM jobs",
        "CREATE VIEW mails_of_all AS SELECT tenant, state FROM mails",
        # Users of the database that work for one tenant only.
        """CREATE TABLE database_users (
            tenant bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
            name text NOT NULL PRIMARY KEY
        )""",
        """CREATE FUNCTION tenant_of_user() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
            SET search_path = mailslot, pg_temp AS
            'SELECT tenant FROM database_users WHERE name = session_user'""",
        # The names in an address of a device become numbers, also for the role that cannot read the tables of others.
        f"""CREATE FUNCTION find_device(
            tenant_name text, device_name text, OUT tenant bigint, OUT device bigint)
            RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = mailslot, pg_temp AS
            $$SELECT devices.tenant, devices.id FROM devices JOIN tenants ON tenants.id = devices.tenant
              WHERE tenants.name = tenant_name AND devices.name = device_name
              AND (pg_has_role(session_user, '{WORKER_ROLE}', 'MEMBER') OR devices.tenant = tenant_of_user())$$""",
        # What people know a device by, from its settings, in the transaction in which they are written.
        f"""CREATE TABLE descriptions (
            {_OF_DEVICE},
            PRIMARY KEY (device),
            name text NOT NULL,
            location text NOT NULL,
            accounts text NOT NULL,
            words text NOT NULL,
            is_set_up boolean NOT NULL
        )""",
        # The health of the tokens, which only a device's keys open, as the worker has seen it that planned for it last.
        f"""CREATE TABLE record_health (
            {_OF_DEVICE},
            record text NOT NULL,
            state text NOT NULL,
            cause text,
            since timestamptz NOT NULL DEFAULT now(),
            checked_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (device, record)
        )""",
        "CREATE INDEX record_health_wrong ON record_health (tenant, device) WHERE state <> 'ok'",
        "CREATE INDEX tasks_failing ON tasks (tenant, device) WHERE failures > 0",
        "CREATE INDEX jobs_wrong ON jobs (tenant, device) WHERE state IN ('held', 'in_doubt', 'failed')",
        # What all devices of a tenant share, encrypted by its data key, such as the secret of its application. A key
        # that is needed here cannot be dropped.
        """CREATE TABLE shared_secrets (
            tenant bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
            name text NOT NULL,
            key text NOT NULL,
            octets bytea NOT NULL,
            written_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, name),
            FOREIGN KEY (tenant, key) REFERENCES data_keys (tenant, id)
        )""",
        # The consent of an administrator, by provider: what was asked for last, and the answer.
        """CREATE TABLE admin_consents (
            tenant bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
            provider text NOT NULL,
            state bytea NOT NULL UNIQUE,
            asked_at timestamptz NOT NULL DEFAULT now(),
            answered_at timestamptz,
            granted boolean,
            directory text,
            cause text,
            sentence text NOT NULL DEFAULT '',
            PRIMARY KEY (tenant, provider)
        )""",
        # Only digests of the secrets in links, states and cookies are here.
        f"""CREATE TABLE sign_in_links (
            {_OF_DEVICE},
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest bytea NOT NULL UNIQUE,
            records text[] NOT NULL,
            account text NOT NULL,
            made_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            withdrawn boolean NOT NULL DEFAULT false,
            used_at timestamptz,
            granted text NOT NULL DEFAULT '{{}}',
            cause text,
            sentence text NOT NULL DEFAULT '',
            signed_in text
        )""",
        "CREATE INDEX sign_in_links_by_device ON sign_in_links (device)",
        f"""CREATE TABLE sign_in_attempts (
            {_OF_DEVICE},
            state bytea PRIMARY KEY,
            link bigint NOT NULL REFERENCES sign_in_links ON DELETE CASCADE,
            browser bytea NOT NULL,
            record text NOT NULL,
            sealed bytea NOT NULL,
            until timestamptz NOT NULL
        )""",
        "CREATE INDEX sign_in_attempts_by_device ON sign_in_attempts (device)",
        "CREATE INDEX sign_in_attempts_by_link ON sign_in_attempts (link)",
        # Whoever has the secret of a link or a sign-in may learn whose it is, like `find_device`.
        """CREATE FUNCTION find_sign_in_link(of_digest bytea, OUT tenant bigint, OUT tenant_name text,
            OUT device bigint, OUT device_name text)
            RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = mailslot, pg_temp AS
            'SELECT tenants.id, tenants.name, devices.id, devices.name FROM sign_in_links AS found
             JOIN devices ON devices.id = found.device JOIN tenants ON tenants.id = devices.tenant
             WHERE found.digest = of_digest'""",
        """CREATE FUNCTION find_sign_in_attempt(of_state bytea, OUT tenant bigint, OUT tenant_name text,
            OUT device bigint, OUT device_name text)
            RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = mailslot, pg_temp AS
            'SELECT tenants.id, tenants.name, devices.id, devices.name FROM sign_in_attempts AS found
             JOIN devices ON devices.id = found.device JOIN tenants ON tenants.id = devices.tenant
             WHERE found.state = of_state'""",
        # What the scan reads first: the tenants of the tasks that are due.
        "CREATE INDEX tasks_due ON tasks (wake_at) INCLUDE (tenant)",
        # Sessions of staff at the panel; see `mailslot.fleet.postgres.staff_sessions`. They belong to no tenant, and
        # only the owner of the tables sees them: no policy allows anybody else.
        """CREATE TABLE staff_sessions (
            digest bytea PRIMARY KEY,
            subject text NOT NULL,
            name text NOT NULL,
            sealed bytea NOT NULL,
            began_at timestamptz NOT NULL DEFAULT now(),
            used_at timestamptz NOT NULL DEFAULT now()
        )""",
        "ALTER TABLE staff_sessions ENABLE ROW LEVEL SECURITY",
    ),
}
"""The statements of each step, by the version that it leads to. Earlier versions than the first one here were those of
checkouts before the first release."""
