-- The whole current schema of an accounts-server database (schema version 10).
--
-- A new file gets this schema as it is. An older file reaches the same schema through the numbered
-- migrations in src/store/sqlite/migrations.rs. Every `*_at` is a time in Unix milliseconds (UTC),
-- bound by the program: no statement reads the clock or generates random values. `*_key` columns
-- hold an address in lower case, the form in which addresses are compared.

-- Accounts. Until `verified_at` is set, the row shows the newest sign-up pending for its address.
-- `email` is the last confirmed address, `new_email` the pending one. `language` is the language of
-- mails (BCP 47). `is_contested`: sign-ups with different passwords were pending, so a code proves
-- only access to the mailbox. `password_version` counts how often the password was set.
-- `email_restored_at`: when an undo last restored the address, which cannot be changed for a while
-- after that. `external_id`: the id in the system that the account was imported from.
-- AUTOINCREMENT: an id is never reused, so the token of a deleted account is never valid for
-- another one.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    email         TEXT    NOT NULL,
    email_key     TEXT    NOT NULL UNIQUE,
    new_email     TEXT,
    new_email_key TEXT    UNIQUE,
    password_hash TEXT    NOT NULL,
    first_name    TEXT    NOT NULL DEFAULT '',
    last_name     TEXT    NOT NULL DEFAULT '',
    phone         TEXT    NOT NULL DEFAULT '',
    address       TEXT    NOT NULL DEFAULT '',
    gender        TEXT    NOT NULL DEFAULT '',
    country       TEXT    NOT NULL DEFAULT '',
    birthday      TEXT,
    photo         TEXT,
    is_active     INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    is_staff      INTEGER NOT NULL DEFAULT 0 CHECK (is_staff IN (0, 1)),
    verified_at   INTEGER,
    last_login_at INTEGER,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    language      TEXT    NOT NULL DEFAULT '',
    is_contested  INTEGER NOT NULL DEFAULT 0 CHECK (is_contested IN (0, 1)),
    password_version INTEGER NOT NULL DEFAULT 0,
    email_restored_at INTEGER,
    external_id   TEXT,
    CHECK ((new_email IS NULL) = (new_email_key IS NULL))
) STRICT;

CREATE INDEX users_by_staff ON users (id) WHERE is_staff;
CREATE UNIQUE INDEX users_by_external_id ON users (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_unverified ON users (created_at) WHERE verified_at IS NULL;

-- The staff user list, ordered by any of its columns. `id` breaks ties. The filter columns are in
-- each index, so that a late page is reached without reading the rows before it.
CREATE INDEX users_by_email ON users (coalesce(new_email_key, email_key), id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_first_name ON users (first_name, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_last_name ON users (last_name, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_created_at ON users (created_at, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_updated_at ON users (updated_at, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_last_login_at ON users (last_login_at, id, is_active, verified_at IS NOT NULL);

-- Numbers of accounts by state and by blocks of 1,024 ids, for the length of the list and for pages
-- ordered by id. Maintained by the triggers below.
CREATE TABLE user_counts (
    block       INTEGER NOT NULL,
    is_active   INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    is_verified INTEGER NOT NULL CHECK (is_verified IN (0, 1)),
    users       INTEGER NOT NULL CHECK (users > 0),
    PRIMARY KEY (block, is_active, is_verified)
) STRICT, WITHOUT ROWID;

-- Searched texts, packed for a sequential scan. A row holds the records of 48 accounts. A record is
-- 0xFF, the id, a letter for the state, and each text after a 0xFE, without case and accents; neither
-- byte occurs in UTF-8. The triggers below maintain it with functions of the program
-- (src/store/sqlite/search_records.rs), so other programs cannot add or delete accounts, nor change
-- these columns.
CREATE TABLE search_blocks (
    block   INTEGER PRIMARY KEY,
    records BLOB    NOT NULL
) STRICT;

CREATE TRIGGER users_listed AFTER INSERT ON users BEGIN
    INSERT INTO user_counts (block, is_active, is_verified, users)
    VALUES (new.id / 1024, new.is_active, new.verified_at IS NOT NULL, 1)
    ON CONFLICT (block, is_active, is_verified) DO UPDATE SET users = users + 1;
    INSERT INTO search_blocks (block, records)
    VALUES (new.id / 48, search_record(new.id, new.is_active, new.verified_at IS NOT NULL, new.email, new.new_email,
        new.first_name, new.last_name, new.phone))
    ON CONFLICT (block) DO UPDATE SET records = search_put(records, new.id, excluded.records);
END;
CREATE TRIGGER users_recounted AFTER UPDATE OF is_active, verified_at ON users
WHEN old.is_active <> new.is_active OR (old.verified_at IS NULL) <> (new.verified_at IS NULL) BEGIN
    DELETE FROM user_counts WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users = 1;
    UPDATE user_counts SET users = users - 1 WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users > 1;
    INSERT INTO user_counts (block, is_active, is_verified, users)
    VALUES (new.id / 1024, new.is_active, new.verified_at IS NOT NULL, 1)
    ON CONFLICT (block, is_active, is_verified) DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER users_search_updated
AFTER UPDATE OF email, new_email, first_name, last_name, phone, is_active, verified_at ON users
WHEN old.email <> new.email OR old.new_email IS NOT new.new_email OR old.first_name <> new.first_name
    OR old.last_name <> new.last_name OR old.phone <> new.phone OR old.is_active <> new.is_active
    OR (old.verified_at IS NULL) <> (new.verified_at IS NULL) BEGIN
    UPDATE search_blocks SET records = search_put(records, new.id, search_record(new.id, new.is_active, new.verified_at IS NOT NULL, new.email, new.new_email,
        new.first_name, new.last_name, new.phone))
    WHERE block = new.id / 48;
END;
CREATE TRIGGER users_unlisted AFTER DELETE ON users BEGIN
    DELETE FROM user_counts WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users = 1;
    UPDATE user_counts SET users = users - 1 WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users > 1;
    UPDATE search_blocks SET records = search_put(records, old.id, x'') WHERE block = old.id / 48;
    DELETE FROM search_blocks WHERE block = old.id / 48 AND records = x'';
END;

-- Photo files that no account has: not yet assigned, or no longer. Files listed here after a crash
-- are deleted later, so that no file is orphaned and no account names a missing file.
CREATE TABLE unused_photos (
    name     TEXT    PRIMARY KEY,
    noted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Pending sign-ups; there can be several for one address. The one whose code is entered gives its
-- password and fields to the account, unless the address is contested, and all of them are deleted.
-- `expires_at` is NULL for imported accounts. `network` and `ip` are those of the client.
CREATE TABLE sign_ups (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    first_name    TEXT    NOT NULL,
    last_name     TEXT    NOT NULL,
    phone         TEXT    NOT NULL,
    address       TEXT    NOT NULL,
    gender        TEXT    NOT NULL,
    country       TEXT    NOT NULL,
    birthday      TEXT,
    created_at    INTEGER NOT NULL,
    language      TEXT    NOT NULL DEFAULT '',
    expires_at    INTEGER,
    network       TEXT    NOT NULL DEFAULT '',
    ip            TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX sign_ups_by_user ON sign_ups (user_id);

-- One-time passwords that were mailed and not used. A used or replaced one is deleted. Only a keyed
-- hash of the code is stored. UNIQUE: two live codes for one address and purpose are never the
-- same.
CREATE TABLE otps (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    purpose    TEXT    NOT NULL CHECK (purpose IN ('sign_up', 'email_change', 'password_reset', 'reauthentication')),
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    sign_up_id INTEGER REFERENCES sign_ups (id) ON DELETE CASCADE,
    email_key  TEXT    NOT NULL,
    code_hash  BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (purpose, email_key, code_hash),
    CHECK ((purpose = 'sign_up') = (sign_up_id IS NOT NULL))
) STRICT;
CREATE INDEX otps_by_user ON otps (user_id);
CREATE INDEX otps_by_sign_up ON otps (sign_up_id);
CREATE INDEX otps_by_expiry ON otps (expires_at);

-- Links in mails with a code, by the hash of their token. A link does the same as its code and
-- expires with it. A later mail replaces the code but not the link; success deletes all of them.
CREATE TABLE otp_tokens (
    token_hash BLOB    PRIMARY KEY,
    purpose    TEXT    NOT NULL CHECK (purpose IN ('sign_up', 'email_change', 'password_reset')),
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    sign_up_id INTEGER REFERENCES sign_ups (id) ON DELETE CASCADE,
    email_key  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    password_version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX otp_tokens_by_user ON otp_tokens (user_id);
CREATE INDEX otp_tokens_by_sign_up ON otp_tokens (sign_up_id);
CREATE INDEX otp_tokens_by_expiry ON otp_tokens (expires_at);

-- Wrong attempts at a code, by client network. Their sum is the count over all networks.
CREATE TABLE otp_network_tries (
    otp_id      INTEGER NOT NULL REFERENCES otps (id) ON DELETE CASCADE,
    network     TEXT    NOT NULL,
    wrong_tries INTEGER NOT NULL,
    PRIMARY KEY (otp_id, network)
) STRICT, WITHOUT ROWID;

-- Wrong attempts at any code of an account, with their times, for the daily limits. They stay when
-- the account is deleted, under the keyed hash of the address: deleting and re-creating an account
-- does not reset the limit.
CREATE TABLE otp_failures (
    id           INTEGER PRIMARY KEY,
    user_id      INTEGER NOT NULL,
    address_hash BLOB    NOT NULL,
    failed_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX otp_failures_by_user ON otp_failures (user_id, failed_at);
CREATE INDEX otp_failures_by_address ON otp_failures (address_hash, failed_at);
CREATE INDEX otp_failures_by_time ON otp_failures (failed_at);

-- Failed password attempts, for brute-force protection. An account is identified by a keyed hash of
-- its address, so that unknown addresses are treated like known ones. `source` is a network, or a
-- session that had to enter its password.
CREATE TABLE password_failures (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_hash BLOB    NOT NULL,
    source       TEXT    NOT NULL,
    failed_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX password_failures_by_account ON password_failures (account_hash, failed_at, source);
CREATE INDEX password_failures_by_time ON password_failures (failed_at);

-- Networks from which the owner of an account was authenticated, by password or by a mailed code.
CREATE TABLE known_networks (
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network       TEXT    NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    PRIMARY KEY (user_id, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_networks_by_time ON known_networks (last_seen_at);

-- One row without meaning. It is written where a response must take as long as one that stores
-- something.
CREATE TABLE decoys (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    written_at INTEGER NOT NULL
) STRICT;

-- Mails with a code within the last hour, for the limits per address and purpose. They stay when an
-- account is deleted, under the keyed hash of the address: deleting and re-creating an account does
-- not reset the limit. `site` is that of the requesting network (an IPv4 address or an IPv6 /48);
-- `is_known`: the account has been signed in to from it. `mailbox_hash` is common to `a@x` and
-- `a+1@x`.
CREATE TABLE otp_mails (
    id           INTEGER PRIMARY KEY,
    address_hash BLOB    NOT NULL,
    purpose      TEXT    NOT NULL,
    sent_at      INTEGER NOT NULL,
    site         TEXT    NOT NULL DEFAULT '',
    is_known     INTEGER NOT NULL DEFAULT 0 CHECK (is_known IN (0, 1)),
    mailbox_hash BLOB    NOT NULL DEFAULT x''
) STRICT;
CREATE INDEX otp_mails_by_address ON otp_mails (address_hash, purpose, sent_at);
CREATE INDEX otp_mails_by_mailbox ON otp_mails (mailbox_hash, site, sent_at);
CREATE INDEX otp_mails_by_time ON otp_mails (sent_at);

-- Links that undo an address change, mailed to the former address: the hash of the token and the
-- address to restore, which is reserved for the account while the link is valid. Using a link also
-- deletes later links (by `sequence`) and resets a password set since then (by `password_version`).
CREATE TABLE email_undos (
    token_hash BLOB    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    email_key  TEXT    NOT NULL DEFAULT '',
    sequence   INTEGER NOT NULL DEFAULT 0,
    password_version INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX email_undos_by_user ON email_undos (user_id);
CREATE INDEX email_undos_by_email ON email_undos (email_key);
CREATE INDEX email_undos_by_expiry ON email_undos (expires_at);

-- Invitations to create an account, by staff or an administrator (`operator`). There is one for each
-- address; repeating it extends it. Accepted and revoked ones are deleted, expired ones after a while.
CREATE TABLE invitations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    email      TEXT    NOT NULL,
    email_key  TEXT    NOT NULL UNIQUE,
    language   TEXT    NOT NULL,
    inviter_id INTEGER REFERENCES users (id) ON DELETE SET NULL,
    operator   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX invitations_by_inviter ON invitations (inviter_id);
CREATE INDEX invitations_by_expiry ON invitations (expires_at);

-- Links in the mails of an invitation, by the hash of their token. A repeated invitation has several.
CREATE TABLE invitation_tokens (
    token_hash    BLOB    PRIMARY KEY,
    invitation_id INTEGER NOT NULL REFERENCES invitations (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX invitation_tokens_by_invitation ON invitation_tokens (invitation_id);

-- Webhooks: endpoints of other services that are notified of what happens to accounts. `events` is the
-- selection of event types, separated by spaces. The secrets that sign deliveries are encrypted; the
-- former ones sign too until `former_until`. `is_from_file`: the configuration file has it.
-- `failing_since`: no attempt has succeeded since then; nothing is attempted before `paused_until`.
-- `delivered`, `failed` and `dead` count deliveries and failed attempts.
CREATE TABLE webhooks (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    url             TEXT    NOT NULL,
    events          TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    payload         TEXT    NOT NULL CHECK (payload IN ('full', 'thin')),
    secrets         BLOB    NOT NULL,
    former_secrets  BLOB,
    former_until    INTEGER,
    is_from_file    INTEGER NOT NULL CHECK (is_from_file IN (0, 1)),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    disabled_at     INTEGER,
    disabled_reason TEXT    CHECK (disabled_reason IN ('staff', 'gone', 'failing')),
    failing_since   INTEGER,
    paused_until    INTEGER,
    delivered       INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    dead            INTEGER NOT NULL DEFAULT 0,
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
) STRICT;

-- The queue of deliveries: mails (`webhook_id` NULL) and events for webhooks. A row is stored in the
-- transaction that causes the delivery. The content is encrypted, so the file reveals no codes.
-- `claimed` marks a delivery in progress; after `next_try_at` the claim has expired. `problem` says why
-- the last attempt failed.
--
-- A mail is deleted when it is delivered or obsolete. Its `user_id` is NULL for an invitation and for
-- the notice of a deletion: other mails are deleted with the account. A mail that was given up
-- (`closed_at` before `expires_at`) or has expired (`closed_at` from then on) stays for a while to be
-- looked up, without its content once it has expired.
--
-- An event is of type `kind` and about the account `subject_id`, which may be deleted: its content, the
-- data of the event, is empty then. `sequence` grows from event to event. `status_code` and `answer` are
-- those of the last attempt. A closed event stays for a while to be replayed.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  BLOB    NOT NULL,
    webhook_id  INTEGER REFERENCES webhooks (id) ON DELETE CASCADE,
    user_id     INTEGER REFERENCES users (id) ON DELETE CASCADE,
    otp_id      INTEGER REFERENCES otps (id) ON DELETE CASCADE,
    invitation_id INTEGER REFERENCES invitations (id) ON DELETE CASCADE,
    subject_id  INTEGER,
    sequence    INTEGER NOT NULL DEFAULT 0,
    email       TEXT    NOT NULL DEFAULT '',
    language    TEXT    NOT NULL DEFAULT '',
    kind        TEXT    NOT NULL DEFAULT '',
    content     BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER NOT NULL,
    last_try_at INTEGER,
    problem     TEXT    NOT NULL DEFAULT '',
    status_code INTEGER,
    answer      BLOB    NOT NULL DEFAULT x'',
    closed_at   INTEGER,
    is_delivered INTEGER NOT NULL DEFAULT 0 CHECK (is_delivered IN (0, 1)),
    claimed     INTEGER NOT NULL DEFAULT 0 CHECK (claimed IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX deliveries_by_message ON deliveries (message_id) WHERE webhook_id IS NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id) WHERE webhook_id IS NOT NULL;
CREATE INDEX deliveries_by_user ON deliveries (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX deliveries_by_otp ON deliveries (otp_id) WHERE otp_id IS NOT NULL;
CREATE INDEX deliveries_by_invitation ON deliveries (invitation_id) WHERE invitation_id IS NOT NULL;
CREATE INDEX deliveries_by_subject ON deliveries (subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX deliveries_by_next_try ON deliveries (webhook_id, next_try_at) WHERE closed_at IS NULL;
CREATE INDEX deliveries_by_expiry ON deliveries (expires_at) WHERE webhook_id IS NULL AND content <> x'';
CREATE INDEX deliveries_closed ON deliveries (webhook_id, closed_at) WHERE closed_at IS NOT NULL;

-- Sessions, one per signed-in device. Every token names its session; revoking a session deletes its
-- row and makes its tokens invalid. The owner last authenticated at
-- `authenticated_at`, by the methods in `amr` (RFC 8176, separated by spaces). A session of an OAuth
-- client has `client_id` and the granted `scopes` (separated by spaces); without the scope
-- `offline_access` it ends with the browser session `parent_id` in which it was started.
CREATE TABLE sessions (
    id           TEXT    PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    ip           TEXT    NOT NULL,
    user_agent   TEXT    NOT NULL,
    secret_hash  BLOB,
    authenticated_at INTEGER NOT NULL DEFAULT 0,
    amr          TEXT    NOT NULL DEFAULT '',
    client_id    TEXT    REFERENCES oauth_clients (id) ON DELETE CASCADE,
    parent_id    TEXT    REFERENCES sessions (id) ON DELETE CASCADE,
    scopes       TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_by_secret ON sessions (secret_hash) WHERE secret_hash IS NOT NULL;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_client ON sessions (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;

-- Refresh tokens by their `jti`. A used one is kept for a while, because its reuse indicates theft.
-- When its row is deleted, a validly signed token of a live session counts as used. `successor_id`
-- is the token that replaced it: reuse within the grace period returns the same successor.
CREATE TABLE refresh_tokens (
    id         TEXT    PRIMARY KEY,
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    successor_id TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- Key pairs for tokens. The newest one that is not retired signs, all of them verify. Those of OAuth
-- clients (`is_for_clients`) are others, one for each algorithm that a client uses. The private key is PKCS #8, encrypted (XChaCha20-Poly1305) where `is_sealed`.
CREATE TABLE signing_keys (
    kid         TEXT    PRIMARY KEY,
    algorithm   TEXT    NOT NULL,
    private_key BLOB    NOT NULL,
    public_key  BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER,
    is_sealed   INTEGER NOT NULL DEFAULT 0 CHECK (is_sealed IN (0, 1)),
    is_for_clients INTEGER NOT NULL DEFAULT 0 CHECK (is_for_clients IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Random secrets created at the first start, such as the key for hashing codes.
CREATE TABLE secrets (
    name      TEXT    PRIMARY KEY,
    value     BLOB    NOT NULL,
    is_sealed INTEGER NOT NULL DEFAULT 0 CHECK (is_sealed IN (0, 1))
) STRICT, WITHOUT ROWID;

-- The audit log. `user_id` is the account that an entry is about, `actor_id` the account that
-- acted, `operator` the system user who ran a command, `reason` what staff gave as one. Entries
-- contain no secrets and no mail addresses. Entries about deleted accounts keep only the ids: client
-- addresses, user agents and reasons are erased.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    happened_at INTEGER NOT NULL,
    event       TEXT    NOT NULL,
    user_id     INTEGER,
    actor_id    INTEGER,
    operator    TEXT    NOT NULL,
    ip          TEXT    NOT NULL,
    user_agent  TEXT    NOT NULL,
    detail      TEXT    NOT NULL,
    reason      TEXT    NOT NULL DEFAULT '',
    count       INTEGER NOT NULL DEFAULT 1,
    last_at     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX events_by_user ON events (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX events_by_other_actor ON events (actor_id) WHERE actor_id IS NOT user_id;
CREATE INDEX events_by_time ON events (happened_at);
CREATE INDEX events_by_kind ON events (event, happened_at);

-- Failed attempts by hour (Unix time / 3600) at each account; 0 stands for unknown addresses. A limited
-- number of them per hour has events; `listed` are those that events count, and `folded` are repeats
-- among them.
CREATE TABLE failure_counts (
    hour     INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    listed   INTEGER NOT NULL,
    folded   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, user_id)
) STRICT, WITHOUT ROWID;

-- Sign-ups, confirmations, sign-ins and failed sign-ins by day (Unix time / 86400), for the
-- overview: a few rows a day without personal data, which outlast the entries of the audit log. Each
-- account counts in one of 16 shards, so that few sign-ins wait for each other.
CREATE TABLE daily_counts (
    day   INTEGER NOT NULL,
    event TEXT    NOT NULL,
    count INTEGER NOT NULL,
    shard INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, event, shard)
) STRICT, WITHOUT ROWID;

-- The link that makes the first staff account: one row, with the hash of its token. The triggers
-- delete it as soon as there is a staff account, however that came about.
CREATE TABLE setup_links (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    token_hash BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER staff_created AFTER INSERT ON users WHEN new.is_staff BEGIN
    DELETE FROM setup_links;
END;
CREATE TRIGGER staff_promoted AFTER UPDATE OF is_staff ON users WHEN new.is_staff AND NOT old.is_staff BEGIN
    DELETE FROM setup_links;
END;

-- Marks of the file itself, such as the first time it was used in development mode.
CREATE TABLE marks (
    name     TEXT    PRIMARY KEY,
    noted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Authenticator apps (RFC 6238). The secret is encrypted; a code's time step has to be later than
-- the last one used.
CREATE TABLE totp_devices (
    user_id      INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    device_id    TEXT    NOT NULL UNIQUE,
    secret       BLOB    NOT NULL,
    last_step    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

-- Recovery codes that are not used up.
CREATE TABLE recovery_codes (
    code_hash  BLOB    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- Sign-ins that wait for a second factor. `amr` is what was checked: the password, or an identity.
CREATE TABLE factor_tickets (
    token_hash       BLOB    PRIMARY KEY,
    user_id          INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_version INTEGER NOT NULL,
    amr              TEXT    NOT NULL,
    expires_at       INTEGER NOT NULL,
    tries            INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX factor_tickets_by_user ON factor_tickets (user_id);
CREATE INDEX factor_tickets_by_expiry ON factor_tickets (expires_at);

-- Wrong codes of authenticator apps.
CREATE TABLE factor_failures (
    user_id   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network   TEXT    NOT NULL,
    was_known INTEGER NOT NULL CHECK (was_known IN (0, 1)),
    failed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX factor_failures_by_user ON factor_failures (user_id, failed_at);

-- Passkeys (Web Authentication). `public_key` is a COSE key, `aaguid` the model of the authenticator.
-- `rp_id` is the domain that the passkey is bound to: with another one it does not sign in.
-- `transports` are separated by blanks.
CREATE TABLE passkeys (
    id                 TEXT    PRIMARY KEY,
    credential_id      BLOB    NOT NULL UNIQUE,
    user_id            INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name               TEXT    NOT NULL,
    rp_id              TEXT    NOT NULL,
    public_key         BLOB    NOT NULL,
    sign_count         INTEGER NOT NULL,
    aaguid             BLOB    NOT NULL,
    transports         TEXT    NOT NULL,
    is_backup_eligible INTEGER NOT NULL CHECK (is_backup_eligible IN (0, 1)),
    is_backed_up       INTEGER NOT NULL CHECK (is_backed_up IN (0, 1)),
    created_at         INTEGER NOT NULL,
    last_used_at       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passkeys_by_user ON passkeys (user_id);

-- The random handle by which the passkeys of an account name it.
CREATE TABLE passkey_handles (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    handle  BLOB    NOT NULL UNIQUE
) STRICT;

-- Challenges that passkeys have to answer, each once. `subject` is the session that registers a
-- passkey, the hash of the id of a sign-in, or that of the ticket of a second step.
CREATE TABLE passkey_challenges (
    challenge_hash BLOB    PRIMARY KEY,
    purpose        TEXT    NOT NULL CHECK (purpose IN ('registration', 'sign_in', 'second_step')),
    subject        BLOB    NOT NULL,
    expires_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_challenges_by_expiry ON passkey_challenges (expires_at);

-- OAuth clients (OpenID Connect relying parties): applications in which people sign in with their account
-- here. A public client has no secret. URIs are separated by line feeds, scopes by spaces.
-- `is_from_file`: the configuration file has it.
CREATE TABLE oauth_clients (
    id               TEXT    PRIMARY KEY,
    name             TEXT    NOT NULL,
    secret_hash      BLOB,
    redirect_uris    TEXT    NOT NULL,
    post_logout_redirect_uris TEXT NOT NULL,
    scopes           TEXT    NOT NULL,
    requires_consent INTEGER NOT NULL CHECK (requires_consent IN (0, 1)),
    id_token_alg     TEXT    NOT NULL CHECK (id_token_alg IN ('RS256', 'ES256', 'EdDSA')),
    access_minutes   INTEGER NOT NULL,
    refresh_days     INTEGER NOT NULL,
    session_days     INTEGER NOT NULL,
    is_staff_only    INTEGER NOT NULL CHECK (is_staff_only IN (0, 1)),
    requires_mfa     INTEGER NOT NULL CHECK (requires_mfa IN (0, 1)),
    is_from_file     INTEGER NOT NULL CHECK (is_from_file IN (0, 1)),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What people allowed clients to see: all scopes that they allowed, separated by spaces.
CREATE TABLE oauth_grants (
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT    NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    scopes       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_grants_by_client ON oauth_grants (client_id);

-- Requests of clients that came by POST or wait for somebody to sign in: the checked parameters, as a
-- query string.
CREATE TABLE authorization_requests (
    id_hash    BLOB    PRIMARY KEY,
    parameters TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX authorization_requests_by_expiry ON authorization_requests (expires_at);

-- Authorization codes (RFC 6749, section 4.1). The session that a code starts has the id `session_id`;
-- when a used code comes again, that session ends. `parent_id` is the browser session in which it was
-- issued.
CREATE TABLE authorization_codes (
    code_hash        BLOB    PRIMARY KEY,
    client_id        TEXT    NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    user_id          INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    parent_id        TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    session_id       TEXT    NOT NULL,
    redirect_uri     TEXT    NOT NULL,
    code_challenge   TEXT    NOT NULL,
    nonce            TEXT,
    scopes           TEXT    NOT NULL,
    expires_at       INTEGER NOT NULL,
    used_at          INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX authorization_codes_by_client ON authorization_codes (client_id);
CREATE INDEX authorization_codes_by_user ON authorization_codes (user_id);
CREATE INDEX authorization_codes_by_parent ON authorization_codes (parent_id);
CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at);

-- Identities: what people are at other providers, by which they sign in. Issuer and subject name one;
-- address and name are what the provider said last. `provider` is the id in the settings.
CREATE TABLE identities (
    id           TEXT    PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider     TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    email        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    UNIQUE (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_by_user ON identities (user_id);

-- Requests to providers, by the hash of their state. The session is the one that connects an identity
-- or authenticates again. The request is that of an app (`redirect_uri`, its `state` and its
-- `code_challenge`) or of a browser (the hash of its cookie). `answer` is what the provider sent back,
-- encrypted under what its client holds; `code_hash` that of the one-time code for the app.
CREATE TABLE provider_requests (
    state_hash     BLOB    PRIMARY KEY,
    provider       TEXT    NOT NULL,
    purpose        TEXT    NOT NULL CHECK (purpose IN ('sign_in', 'connection', 'reauthentication')),
    session_id     TEXT    REFERENCES sessions (id) ON DELETE CASCADE,
    redirect_uri   TEXT,
    app_state      TEXT,
    code_challenge TEXT,
    cookie_hash    BLOB,
    next_path      TEXT    NOT NULL,
    answer         BLOB,
    code_hash      BLOB    UNIQUE,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    CHECK ((purpose = 'sign_in') = (session_id IS NULL)),
    CHECK ((redirect_uri IS NULL) = (code_challenge IS NULL)),
    CHECK ((redirect_uri IS NULL) = (cookie_hash IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_requests_by_session ON provider_requests (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX provider_requests_by_expiry ON provider_requests (expires_at);

-- Tickets for an identity that a provider has proven and no account has: to connect it to the account
-- that has its address, or to the account of the sign-up that it made.
CREATE TABLE identity_tickets (
    token_hash BLOB    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    sign_up_id INTEGER REFERENCES sign_ups (id) ON DELETE CASCADE,
    provider   TEXT    NOT NULL,
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_tickets_by_user ON identity_tickets (user_id);
CREATE INDEX identity_tickets_by_sign_up ON identity_tickets (sign_up_id) WHERE sign_up_id IS NOT NULL;
CREATE INDEX identity_tickets_by_expiry ON identity_tickets (expires_at);

-- ID tokens that apps have sent, by their hash: each counts once.
CREATE TABLE used_id_tokens (
    token_hash BLOB    PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX used_id_tokens_by_expiry ON used_id_tokens (expires_at);
