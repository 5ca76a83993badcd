//! The state of a server in numbers.

use crate::support::*;

on_every_engine![
    empty_store_has_days_without_anything,
    accounts_are_counted,
    events_are_counted_by_day,
    mails_are_counted,
];

async fn read(store: &dyn Store) -> Overview {
    let day = at(0).unix_days();
    store.read_overview(day - 1, day + 1).await.unwrap()
}

async fn empty_store_has_days_without_anything(store: &dyn Store) {
    let day = at(0).unix_days();
    let overview = read(store).await;
    let expected = Overview {
        days: (day - 1..=day + 1)
            .map(|day| DayCounts {
                day,
                ..DayCounts::default()
            })
            .collect(),
        ..Overview::default()
    };
    assert_eq!(overview, expected);
    let none = store.read_overview(day, day - 1).await.unwrap();
    assert_eq!(none.days, []);
}

async fn accounts_are_counted(store: &dyn Store) {
    staff(store, "staff@example.com").await;
    let id = account(store, "ann@example.com").await;
    set_active(store, id, false).await;
    let pending = sign_up("new@example.com", "hash", "code", at(0));
    let pending = created(store.create_sign_up(pending).await.unwrap());
    let gone = account(store, "gone@example.com").await;
    store.delete_user(deletion(gone)).await.unwrap();
    let numbers = async || {
        let now = read(store).await;
        (now.accounts, now.confirmed, now.inactive, now.staff)
    };
    assert_eq!(numbers().await, (3, 2, 1, 1));
    store.delete_user(deletion(pending)).await.unwrap();
    set_active(store, id, true).await;
    assert_eq!(numbers().await, (2, 2, 0, 1));
}

async fn events_are_counted_by_day(store: &dyn Store) {
    let id = verified(store, "ann@example.com", at(0)).await;
    session_of(store, id, "s").await;
    let context = RequestContext::default;
    for (user_id, now) in [(Some(id), at(0)), (None, at(0)), (None, at(86_400))] {
        store
            .note_failed_sign_in(user_id, context(), now)
            .await
            .unwrap();
    }
    let days: Vec<_> = read(store)
        .await
        .days
        .iter()
        .map(|day| {
            (
                day.sign_ups,
                day.confirmed,
                day.sign_ins,
                day.failed_sign_ins,
            )
        })
        .collect();
    assert_eq!(days, [(0, 0, 0, 0), (1, 1, 1, 2), (0, 0, 0, 1)]);
}

async fn mails_are_counted(store: &dyn Store) {
    for (email, code) in [("a@example.com", "1"), ("b@example.com", "2")] {
        let sign_up = sign_up(email, "hash", code, at(0));
        created(store.create_sign_up(sign_up).await.unwrap());
    }
    let numbers = async || {
        let now = read(store).await;
        (now.mails_waiting, now.mails_failing)
    };
    assert_eq!(numbers().await, (2, 0));
    claim(store, at(0), 1, 1).await;
    assert_eq!(
        numbers().await,
        (2, 0),
        "a single failure is often temporary"
    );
    claim(store, at(300), 0, 0).await;
    claim(store, at(300), 2, 1).await;
    assert_eq!(numbers().await, (2, 1));
}
