//! What only the SQLite store guarantees: files, and what other processes do to them.

use accounts_server::store::sqlite::add_functions;
use rusqlite::Connection;

use crate::support::*;

fn count(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_writes_at_once_are_all_durable() {
    let (dir, store) = on_a_file();
    let tasks = (0..200).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let email = format!("user{n}@example.com");
            created(
                store
                    .create_sign_up(sign_up(&email, "hash", "code", at(n)))
                    .await
                    .unwrap(),
            )
        })
    });
    let mut ids: Vec<UserId> = join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    // Read by another connection while the store runs: operations are answered after their commit.
    let connection = Connection::open(path(&dir)).unwrap();
    assert_eq!(count(&connection, "SELECT count(*) FROM users"), 200);
    assert_eq!(count(&connection, "SELECT count(*) FROM otps"), 200);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    drop(store);
    let store = open(&dir, Duration::from_secs(5));
    for n in 0..200 {
        let found = store
            .find_credentials(&format!("user{n}@example.com"))
            .await
            .unwrap();
        assert!(found.is_some(), "{n}");
    }
}

#[tokio::test]
async fn what_fails_leaves_nothing_and_disturbs_nobody() {
    for store in [on_a_file().1, in_memory()] {
        let id = created(
            store
                .create_sign_up(sign_up("ann@example.com", "first", "same", at(0)))
                .await
                .unwrap(),
        );
        // All of these are queued together, so they share a transaction; every third one requests a
        // code that is in use.
        let outcomes = join_all((0..60).map(|n| {
            let store = &store;
            async move {
                if n % 3 == 0 {
                    let failing = sign_up("ann@example.com", "second", "same", at(1));
                    store.create_sign_up(failing).await
                } else {
                    store
                        .create_sign_up(sign_up(
                            &format!("user{n}@example.com"),
                            "hash",
                            "code",
                            at(1),
                        ))
                        .await
                }
            }
        }))
        .await;
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Err(StoreError::Taken(_)) => assert_eq!(n % 3, 0, "{n}"),
                Ok(SignUpOutcome::Created(_)) => assert_ne!(n % 3, 0, "{n}"),
                other => panic!("{n}: {other:?}"),
            }
        }
        for n in (0..60).filter(|n| n % 3 != 0) {
            let email = format!("user{n}@example.com");
            assert!(
                store.find_credentials(&email).await.unwrap().is_some(),
                "{email}"
            );
        }
        // The failing operations changed the account before they failed; their mails do not count.
        let found = store
            .find_credentials("ann@example.com")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&*found.password_hash, "first");
        let user = store.find_user(id).await.unwrap().unwrap();
        assert_eq!(
            (&*user.profile.first_name, user.created_at),
            ("first", at(0))
        );
        let pause = store
            .find_mail_pause(
                b"ann@example.com",
                b"ann@example.com",
                OtpPurpose::SignUp,
                network(),
                at(1),
                STRICT,
            )
            .await
            .unwrap();
        assert_eq!(pause, Some(at(60)), "counted from the first one");
        let user = store
            .confirm_sign_up(confirmation(
                attempt("ann@example.com", "same", at(2)),
                session("s", at(2)),
            ))
            .await
            .unwrap();
        assert_eq!(user.map(|confirmed| confirmed.user.id), Some(id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_another_process_and_reads_go_on() {
    let (dir, store) = on_a_file();
    let id = verified(&*store, "ann@example.com", at(0)).await;
    let other = Connection::open(path(&dir)).unwrap();
    add_functions(&other).unwrap();
    other
        .execute_batch("BEGIN IMMEDIATE; UPDATE users SET last_name = 'Other'")
        .unwrap();
    let mut write = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store
                .update_user(update(id, renamed("Ann"), "", at(1)))
                .await
        })
    };
    let early = tokio::time::timeout(Duration::from_millis(100), &mut write).await;
    assert!(early.is_err(), "the write did not wait: {early:?}");
    assert_eq!(
        store
            .find_user(id)
            .await
            .unwrap()
            .unwrap()
            .profile
            .last_name,
        "",
        "a read does not wait"
    );
    other.execute_batch("COMMIT").unwrap();
    let (user, _) = updated(write.await.unwrap().unwrap());
    assert_eq!(
        (&*user.profile.first_name, &*user.profile.last_name),
        ("Ann", "Other")
    );
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_reported() {
    let (dir, store) = on_a_file();
    let id = verified(&*store, "ann@example.com", at(0)).await;
    drop(store);
    let store = open(&dir, Duration::from_millis(20));
    let other = Connection::open(path(&dir)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = store
        .update_user(update(id, renamed("Ann"), "", at(1)))
        .await;
    assert!(matches!(outcome, Err(StoreError::Busy(_))), "{outcome:?}");
    other.execute_batch("COMMIT").unwrap();
    let (user, _) = apply_update(&*store, update(id, renamed("Ann"), "", at(1))).await;
    assert_eq!(
        user.profile.first_name, "Ann",
        "and it works again afterwards"
    );
}

#[tokio::test]
async fn what_is_remembered_of_a_session_ends_with_any_write_of_anybody() {
    let (dir, server) = on_a_file();
    let other = open(&dir, Duration::from_secs(5));
    let id = verified(&*server, "ann@example.com", at(0)).await;
    let kept = named("s", id);
    let name = async || {
        let user = server.find_session_user(&kept).await.unwrap();
        user.map(|user| user.profile.first_name.clone())
    };
    for (round, store) in [&server, &other, &server, &other].into_iter().enumerate() {
        for name in ["s", "t"] {
            begin(&**store, sign_in(id, "hash", name, at(1))).await;
        }
        // Called twice: the second answer comes from the cache.
        assert!(name().await.is_some());
        assert!(name().await.is_some());
        let new_name = format!("Ann {round}");
        let update = update(id, renamed(&new_name), "", at(2));
        updated(store.update_user(update).await.unwrap());
        assert_eq!(name().await, Some(new_name.clone()));
        // A write to another session does not affect this one.
        assert!(
            store
                .delete_session("t", RequestContext::default(), at(2))
                .await
                .unwrap()
        );
        assert_eq!(name().await, Some(new_name));
        assert!(
            store
                .delete_session("s", RequestContext::default(), at(2))
                .await
                .unwrap()
        );
        assert_eq!(name().await, None);
        assert_eq!(name().await, None);
    }
}

#[tokio::test]
async fn two_stores_on_one_file_see_each_other() {
    let (dir, first) = on_a_file();
    let second = open(&dir, Duration::from_secs(5));
    let id = verified(&*first, "ann@example.com", at(0)).await;
    assert_eq!(
        second.find_user(id).await.unwrap().unwrap().email,
        "ann@example.com"
    );
    updated(
        second
            .update_user(update(id, renamed("Ann"), "", at(1)))
            .await
            .unwrap(),
    );
    assert_eq!(
        first
            .find_user(id)
            .await
            .unwrap()
            .unwrap()
            .profile
            .first_name,
        "Ann"
    );
    let secrets = [
        secret(&*first, "name", vec![1]).await,
        secret(&*second, "name", vec![2]).await,
    ];
    assert_eq!(secrets[0], secrets[1]);
}
