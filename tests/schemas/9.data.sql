-- What a real server of this version had stored: accounts of all kinds, and what hangs on them. Nothing in it expires before
-- the year 2100, but for tokens, whose expiry is written in them. Counts and what is searched are made by the triggers. Keys are
-- encrypted under the secret 'the secret of the fixtures, 32 characters'.
INSERT INTO users (id, email, email_key, new_email, new_email_key, password_hash, first_name, last_name, phone, address, gender, country, birthday, photo, is_active, is_staff, verified_at, last_login_at, created_at, updated_at, language)
    VALUES (1, 'grace@example.com', 'grace@example.com', NULL, NULL, 'bcrypt_sha256$$2b$04$UUZnEM/Jc7hNKaGxLKWrd.1b6wb0ME79Xnd6xRwS2mf1jpRITmnhO', '', '', '', '', '', '', NULL, NULL, 1, 1, 1795636906000, NULL, 1795636906000, 1795636906000, '');
INSERT INTO users (id, email, email_key, new_email, new_email_key, password_hash, first_name, last_name, phone, address, gender, country, birthday, photo, is_active, is_staff, verified_at, last_login_at, created_at, updated_at, language)
    VALUES (2, 'Ada@example.com', 'ada@example.com', 'countess@example.com', 'countess@example.com', 'bcrypt_sha256$$2b$04$WPZUPJwK24bImtWmXHXRgez/Z6Lf7e1/zMP9FfA7ikGI7z0vfwQVm', 'Ada', 'Lovelace', '+442079460000', '12 St James Square, London', 'F', 'GB', '1815-12-10', '21b3bf912f2887bd6406e0499ef8a44e.jpg', 1, 0, 1795636914090, 1795636914090, 1795636910421, 1795636954400, 'de');
INSERT INTO users (id, email, email_key, new_email, new_email_key, password_hash, first_name, last_name, phone, address, gender, country, birthday, photo, is_active, is_staff, verified_at, last_login_at, created_at, updated_at, language)
    VALUES (3, 'new@example.com', 'new@example.com', NULL, NULL, 'bcrypt_sha256$$2b$04$lrXDKSMK1mCqnCQ.h4rQt.AqcVq9magoYrKXtBuDjHeLNHq53OV.C', 'New', '', '', '', '', '', NULL, NULL, 1, 0, NULL, NULL, 1795636954448, 1795636954448, '');
INSERT INTO sign_ups (id, user_id, email, password_hash, first_name, last_name, phone, address, gender, country, birthday, created_at, language)
    VALUES (2, 3, 'new@example.com', 'bcrypt_sha256$$2b$04$lrXDKSMK1mCqnCQ.h4rQt.AqcVq9magoYrKXtBuDjHeLNHq53OV.C', 'New', '', '', '', '', '', NULL, 1795636954448, '');
INSERT INTO otps (id, purpose, user_id, sign_up_id, email_key, code_hash, created_at, expires_at)
    VALUES (2, 'email_change', 2, NULL, 'countess@example.com', X'60ec488478147c38b34c106c6d3a951be2e729141c1fa4b7f20433e95b0f58ec', 1795636954400, 4102444800000);
INSERT INTO otps (id, purpose, user_id, sign_up_id, email_key, code_hash, created_at, expires_at)
    VALUES (3, 'sign_up', 3, 2, 'new@example.com', X'ad95c9a6d0184ccec1c568dd4f14b9f5ba41388d9eb2f18e118d5018d6ba3d87', 1795636954448, 4102444800000);
INSERT INTO otps (id, purpose, user_id, sign_up_id, email_key, code_hash, created_at, expires_at)
    VALUES (4, 'password_reset', 1, NULL, 'grace@example.com', X'da9c7b4f9264616d820539ef75f0d5b04cd32e0a4e879965be94c616e051ea0f', 1795636954472, 4102444800000);
INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent)
    VALUES ('0f29342ffe34dc1baf9c5b7eba973c0c', 2, 1795636914090, 1795636914090, 4102444800000, '127.0.0.1', 'curl/7.88.1');
INSERT INTO unused_photos (name, noted_at)
    VALUES ('00000000000000000000000000000001.jpg', 1795636950000);
INSERT INTO otp_network_tries (otp_id, network, wrong_tries)
    VALUES (3, '127.0.0.1', 1);
INSERT INTO otp_mails (id, address_hash, purpose, sent_at)
    VALUES (1, X'01', 'sign_up', 1795636910421);
INSERT INTO otp_mails (id, address_hash, purpose, sent_at)
    VALUES (2, X'02', 'email_change', 1795636954400);
INSERT INTO otp_mails (id, address_hash, purpose, sent_at)
    VALUES (3, X'03', 'sign_up', 1795636954448);
INSERT INTO otp_mails (id, address_hash, purpose, sent_at)
    VALUES (4, X'04', 'password_reset', 1795636954472);
INSERT INTO email_undos (token_hash, user_id, email, expires_at)
    VALUES (X'17b38931c3e17f274b104ea0ac6bdf75a565888c2d3cddc5201d72b75be8a6be', 2, 'Ada@example.com', 4102444800000);
INSERT INTO mails (id, message_id, user_id, otp_id, email, language, content, created_at, expires_at, tries, next_try_at, claimed)
    VALUES (7, X'000102030405060708090a0b0c0d0e0f', 1, NULL, 'grace@example.com', 'en', X'00', 1795636950000, 4102444800000, 2, 4102444800000, 0);
INSERT INTO refresh_tokens (id, session_id, expires_at, used_at)
    VALUES ('6df6c8dbc0164408c1c40f6799b1a0c1', '0f29342ffe34dc1baf9c5b7eba973c0c', 4102444800000, NULL);
INSERT INTO otp_failures (id, user_id, address_hash, failed_at)
    VALUES (1, 3, X'', 1795636954551);
INSERT INTO password_failures (id, account_hash, source, failed_at)
    VALUES (1, X'000102', '127.0.0.1', 1795636954551);
INSERT INTO known_networks (user_id, network, first_seen_at, last_seen_at)
    VALUES (2, '127.0.0.1', 1795636914090, 1795636914090);
INSERT INTO decoys (id, written_at)
    VALUES (1, 1795636954551);
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (1, 4102444800000, 'user_created', 1, NULL, 'root', '', '', '');
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (2, 4102444800000, 'sign_up_confirmed', 2, 2, '', '127.0.0.1', 'curl/7.88.1', '');
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (3, 4102444800000, 'sign_in_failed', NULL, NULL, '', '127.0.0.1', 'curl/7.88.1', '');
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (4, 4102444800000, 'backup_begun', NULL, NULL, 'root', '', '', '/var/backups/users.tar');
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (5, 4102444800000, 'sessions_ended', 1, 1, '', '127.0.0.1', 'curl/7.88.1', '2');
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (6, 4102444800000, 'password_refused', 1, 1, '', '127.0.0.1', 'curl/7.88.1', '');
INSERT INTO events (id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail)
    VALUES (7, 4102444800000, 'keys_sealed', NULL, NULL, 'root', '', '', 'encrypted');
INSERT INTO failure_counts (hour, is_account, failures, listed)
    VALUES (1139568, 0, 1, 1);
INSERT INTO signing_keys (kid, algorithm, private_key, public_key, created_at, retired_at, is_sealed)
    VALUES ('EBhhqu7twdhVtSGUbqlCtmKHiMG75qfCJ0EI_OWaeU8', 'EdDSA', X'5315830c7ebe3dcb8be157efadfa5b8ebe5728d56194716281f6c445915d4fcd9f08c7b09cf5aad851d53706af9956188699ef7db1f81e921802ae190d13581db59fdb3efa79711622ee2e69679ab3541295cc3083137c34f0ef2a9abc6a3fb331fb92f527a1b8e5b00c6339be1a8f3f7281da9f2235c947d7078b', X'8a840bbcf0784f8d85eed08c77d4f267869ed7ea16777a8057cc20ae99d1424a', 1795636905227, NULL, 1);
INSERT INTO secrets (name, value, is_sealed)
    VALUES ('mail_key', X'937a2da15377f5a315cb14a889a2be44585ff9f4635f7b15d8dd0a1355e5ba05eef89008eb0abbc7d8e35f564f365f6ef100985efdee7f3fe352f1e302c9c663fff6b436e78203a6', 1);
INSERT INTO secrets (name, value, is_sealed)
    VALUES ('otp_key', X'1cbc9cfbd77f35f0391b8e4eb4a5c45892ddc69fba97ce94b3f669a1acfe1f8b17ccdc52a86e5c4b93c87880468501e66c2ed2103d42ee7e2e4b1fd434e91c57a4484031b22b53ff', 1);

INSERT INTO marks (name, noted_at)
    VALUES ('seen', 1795636906000);
