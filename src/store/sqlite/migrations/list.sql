-- The list for staff: indexes for its orders, counts, and what is searched.

CREATE INDEX users_by_email ON users (coalesce(new_email_key, email_key), id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_first_name ON users (first_name, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_last_name ON users (last_name, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_created_at ON users (created_at, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_updated_at ON users (updated_at, id, is_active, verified_at IS NOT NULL);
CREATE INDEX users_by_last_login_at ON users (last_login_at, id, is_active, verified_at IS NOT NULL);

CREATE TABLE user_counts (
    block       INTEGER NOT NULL,
    is_active   INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    is_verified INTEGER NOT NULL CHECK (is_verified IN (0, 1)),
    users       INTEGER NOT NULL CHECK (users > 0),
    PRIMARY KEY (block, is_active, is_verified)
) STRICT, WITHOUT ROWID;

CREATE TABLE search_blocks (
    block   INTEGER PRIMARY KEY,
    records TEXT    NOT NULL
) STRICT;

CREATE TRIGGER users_listed AFTER INSERT ON users BEGIN
    INSERT INTO user_counts (block, is_active, is_verified, users)
    VALUES (new.id / 1024, new.is_active, new.verified_at IS NOT NULL, 1)
    ON CONFLICT (block, is_active, is_verified) DO UPDATE SET users = users + 1;
    INSERT INTO search_blocks (block, records)
    VALUES (new.id / 48, x'ff' || new.id || substr('abcd', 1 + 2 * new.is_active + (new.verified_at IS NOT NULL), 1)
        || x'fe' || lower(new.email) || x'fe' || coalesce(lower(new.new_email), '') || x'fe' || lower(new.first_name)
        || x'fe' || lower(new.last_name) || x'fe' || lower(new.phone))
    ON CONFLICT (block) DO UPDATE SET records = records || excluded.records;
END;
CREATE TRIGGER users_counted_anew AFTER UPDATE OF is_active, verified_at ON users
WHEN old.is_active <> new.is_active OR (old.verified_at IS NULL) <> (new.verified_at IS NULL) BEGIN
    DELETE FROM user_counts WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users = 1;
    UPDATE user_counts SET users = users - 1 WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users > 1;
    INSERT INTO user_counts (block, is_active, is_verified, users)
    VALUES (new.id / 1024, new.is_active, new.verified_at IS NOT NULL, 1)
    ON CONFLICT (block, is_active, is_verified) DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER users_found_anew
AFTER UPDATE OF email, new_email, first_name, last_name, phone, is_active, verified_at ON users
WHEN old.email <> new.email OR old.new_email IS NOT new.new_email OR old.first_name <> new.first_name
    OR old.last_name <> new.last_name OR old.phone <> new.phone OR old.is_active <> new.is_active
    OR (old.verified_at IS NULL) <> (new.verified_at IS NULL) BEGIN
    UPDATE search_blocks SET records = replace(records,
        x'ff' || old.id || substr('abcd', 1 + 2 * old.is_active + (old.verified_at IS NOT NULL), 1)
        || x'fe' || lower(old.email) || x'fe' || coalesce(lower(old.new_email), '') || x'fe' || lower(old.first_name)
        || x'fe' || lower(old.last_name) || x'fe' || lower(old.phone),
        x'ff' || new.id || substr('abcd', 1 + 2 * new.is_active + (new.verified_at IS NOT NULL), 1)
        || x'fe' || lower(new.email) || x'fe' || coalesce(lower(new.new_email), '') || x'fe' || lower(new.first_name)
        || x'fe' || lower(new.last_name) || x'fe' || lower(new.phone))
    WHERE block = old.id / 48;
END;
CREATE TRIGGER users_listed_no_more AFTER DELETE ON users BEGIN
    DELETE FROM user_counts WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users = 1;
    UPDATE user_counts SET users = users - 1 WHERE block = old.id / 1024 AND is_active = old.is_active
        AND is_verified = (old.verified_at IS NOT NULL) AND users > 1;
    UPDATE search_blocks SET records = replace(records,
        x'ff' || old.id || substr('abcd', 1 + 2 * old.is_active + (old.verified_at IS NOT NULL), 1)
        || x'fe' || lower(old.email) || x'fe' || coalesce(lower(old.new_email), '') || x'fe' || lower(old.first_name)
        || x'fe' || lower(old.last_name) || x'fe' || lower(old.phone), '')
    WHERE block = old.id / 48;
    DELETE FROM search_blocks WHERE block = old.id / 48 AND records = '';
END;

INSERT INTO user_counts (block, is_active, is_verified, users)
SELECT id / 1024, is_active, verified_at IS NOT NULL, count(*) FROM users GROUP BY 1, 2, 3;
INSERT INTO search_blocks (block, records)
SELECT id / 48, group_concat(x'ff' || users.id || substr('abcd', 1 + 2 * users.is_active + (users.verified_at IS NOT NULL), 1)
        || x'fe' || lower(users.email) || x'fe' || coalesce(lower(users.new_email), '') || x'fe' || lower(users.first_name)
        || x'fe' || lower(users.last_name) || x'fe' || lower(users.phone), '' ORDER BY id) FROM users GROUP BY 1;
