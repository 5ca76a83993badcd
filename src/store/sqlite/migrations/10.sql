-- The kinds of audit log entries get the terms of the field.
UPDATE events SET event = CASE event
    WHEN 'backup_begun' THEN 'backup_started'
    WHEN 'sessions_ended' THEN 'sessions_revoked'
    WHEN 'password_refused' THEN 'password_check_failed'
    ELSE 'key_encryption_changed' END
WHERE event IN ('backup_begun', 'sessions_ended', 'password_refused', 'keys_sealed');

-- Contested sign-ups. Those that are pending already stay pending, as they would have.
ALTER TABLE users ADD COLUMN is_contested INTEGER NOT NULL DEFAULT 0 CHECK (is_contested IN (0, 1));
CREATE INDEX users_unverified ON users (created_at) WHERE verified_at IS NULL;
ALTER TABLE sign_ups ADD COLUMN expires_at INTEGER;
ALTER TABLE sign_ups ADD COLUMN network TEXT NOT NULL DEFAULT '';
ALTER TABLE sign_ups ADD COLUMN ip TEXT NOT NULL DEFAULT '';

-- Undo restores the account as it was when its link was made.
ALTER TABLE users ADD COLUMN password_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN email_restored_at INTEGER;
ALTER TABLE email_undos ADD COLUMN email_key TEXT NOT NULL DEFAULT '';
ALTER TABLE email_undos ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE email_undos ADD COLUMN password_version INTEGER NOT NULL DEFAULT 0;
UPDATE email_undos SET email_key = lower(email), sequence = expires_at;
CREATE INDEX email_undos_by_email ON email_undos (email_key);

-- A repeated use of a refresh token within the grace returns the same successor.
ALTER TABLE refresh_tokens ADD COLUMN successor_id TEXT;

-- The ids of imported accounts in the systems that they come from.
ALTER TABLE users ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX users_by_external_id ON users (external_id) WHERE external_id IS NOT NULL;

-- Mails are limited by shares of the requesting networks, and carry links.
ALTER TABLE otp_mails ADD COLUMN site TEXT NOT NULL DEFAULT '';
ALTER TABLE otp_mails ADD COLUMN is_known INTEGER NOT NULL DEFAULT 0 CHECK (is_known IN (0, 1));
ALTER TABLE otp_mails ADD COLUMN mailbox_hash BLOB NOT NULL DEFAULT x'';
CREATE INDEX otp_mails_by_mailbox ON otp_mails (mailbox_hash, site, sent_at);
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

-- Staff invites people by mail.
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
CREATE TABLE invitation_tokens (
    token_hash    BLOB    PRIMARY KEY,
    invitation_id INTEGER NOT NULL REFERENCES invitations (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX invitation_tokens_by_invitation ON invitation_tokens (invitation_id);

-- Codes for authenticating again. The tables that refer to codes are copied too: a renamed table
-- takes the references to it along.
ALTER TABLE otps RENAME TO former_otps;
DROP INDEX otps_by_user;
DROP INDEX otps_by_sign_up;
DROP INDEX otps_by_expiry;
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
INSERT INTO otps (id, purpose, user_id, sign_up_id, email_key, code_hash, created_at, expires_at)
SELECT id, purpose, user_id, sign_up_id, email_key, code_hash, created_at, expires_at FROM former_otps;
ALTER TABLE otp_network_tries RENAME TO former_otp_network_tries;
CREATE TABLE otp_network_tries (
    otp_id      INTEGER NOT NULL REFERENCES otps (id) ON DELETE CASCADE,
    network     TEXT    NOT NULL,
    wrong_tries INTEGER NOT NULL,
    PRIMARY KEY (otp_id, network)
) STRICT, WITHOUT ROWID;
INSERT INTO otp_network_tries (otp_id, network, wrong_tries)
SELECT otp_id, network, wrong_tries FROM former_otp_network_tries;
DROP TABLE former_otp_network_tries;

-- The queue of mails becomes one of mails and events for webhooks. The notice of a deletion is
-- delivered when its account is gone. Mails that could not be delivered stay for a while.
ALTER TABLE mails RENAME TO former_mails;
DROP INDEX mails_by_user;
DROP INDEX mails_by_otp;
DROP INDEX mails_by_next_try;
DROP INDEX mails_by_expiry;
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
INSERT INTO deliveries (id, message_id, user_id, otp_id, email, language, content, created_at, expires_at, tries, next_try_at, claimed)
SELECT id, message_id, user_id, otp_id, email, language, content, created_at, expires_at, tries, next_try_at, claimed FROM former_mails;
DELETE FROM sqlite_sequence WHERE name = 'deliveries';
UPDATE sqlite_sequence SET name = 'deliveries' WHERE name = 'former_mails';
DROP TABLE former_mails;
DROP TABLE former_otps;

-- Sessions of browsers are carried on by a secret in a cookie, of which only a hash is kept; each
-- session knows when and how its owner last authenticated.
ALTER TABLE sessions ADD COLUMN secret_hash BLOB;
ALTER TABLE sessions ADD COLUMN authenticated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN amr TEXT NOT NULL DEFAULT '';
UPDATE sessions SET authenticated_at = created_at;
CREATE UNIQUE INDEX sessions_by_secret ON sessions (secret_hash) WHERE secret_hash IS NOT NULL;

-- Staff reads the audit log by time and kind.
CREATE INDEX events_by_time ON events (happened_at);
CREATE INDEX events_by_kind ON events (event, happened_at);

-- The link that makes the first staff account.
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

-- What happened by day; the days before are counted from the audit log.
CREATE TABLE daily_counts (
    day   INTEGER NOT NULL,
    event TEXT    NOT NULL,
    count INTEGER NOT NULL,
    shard INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, event, shard)
) STRICT, WITHOUT ROWID;
INSERT INTO daily_counts (day, event, count)
SELECT happened_at / 86400000, event, count(*) FROM events
WHERE event IN ('sign_up', 'sign_up_confirmed', 'sign_in', 'sign_in_failed') GROUP BY 1, 2;

-- The search folds case and accents of all scripts.
DROP TRIGGER users_listed;
DROP TRIGGER users_found_anew;
DROP TRIGGER users_listed_no_more;
DROP TABLE search_blocks;
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
DROP TRIGGER users_counted_anew;
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
INSERT INTO search_blocks (block, records)
SELECT id / 48, CAST(group_concat(CAST(search_record(users.id, users.is_active, users.verified_at IS NOT NULL, users.email, users.new_email,
        users.first_name, users.last_name, users.phone) AS TEXT), '' ORDER BY id) AS BLOB) FROM users GROUP BY 1;

-- Staff can give a reason for what it does to an account.
ALTER TABLE events ADD COLUMN reason TEXT NOT NULL DEFAULT '';

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

-- Repeats share an entry of the audit log, and each account has its own quota of failures.
ALTER TABLE events ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
ALTER TABLE events ADD COLUMN last_at INTEGER NOT NULL DEFAULT 0;
UPDATE events SET last_at = happened_at;
ALTER TABLE failure_counts RENAME TO former_failure_counts;
CREATE TABLE failure_counts (
    hour     INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    listed   INTEGER NOT NULL,
    folded   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, user_id)
) STRICT, WITHOUT ROWID;
INSERT INTO failure_counts (hour, user_id, failures, listed)
SELECT hour, 0, sum(failures), sum(listed) FROM former_failure_counts GROUP BY hour;
DROP TABLE former_failure_counts;

-- OAuth clients, and the sessions that they get.
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
CREATE TABLE oauth_grants (
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT    NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    scopes       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX oauth_grants_by_client ON oauth_grants (client_id);
CREATE TABLE authorization_requests (
    id_hash    BLOB    PRIMARY KEY,
    parameters TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX authorization_requests_by_expiry ON authorization_requests (expires_at);
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
ALTER TABLE sessions ADD COLUMN client_id TEXT REFERENCES oauth_clients (id) ON DELETE CASCADE;
ALTER TABLE sessions ADD COLUMN parent_id TEXT REFERENCES sessions (id) ON DELETE CASCADE;
ALTER TABLE sessions ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_by_client ON sessions (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;
ALTER TABLE signing_keys ADD COLUMN is_for_clients INTEGER NOT NULL DEFAULT 0 CHECK (is_for_clients IN (0, 1));

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
