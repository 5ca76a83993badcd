-- The kinds of audit log entries get the terms of the field.
UPDATE events SET event = CASE event
    WHEN 'backup_begun' THEN 'backup_started'
    WHEN 'sessions_ended' THEN 'sessions_revoked'
    WHEN 'password_refused' THEN 'password_check_failed'
    ELSE 'key_encryption_changed' END
WHERE event IN ('backup_begun', 'sessions_ended', 'password_refused', 'keys_sealed');
