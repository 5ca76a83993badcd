//! The audit log.

use crate::support::*;

on_every_engine![
    entry_is_recorded,
    entries_of_others_are_refused,
    entries_of_an_account_are_listed_newest_first,
    pages_of_an_account_end,
    entries_are_filtered,
    entries_are_limited_to_the_newest,
    pages_of_the_log_are_filtered_and_end,
    repeats_share_an_entry,
    failures_beyond_the_quota_are_counted_alone,
    many_entries_of_an_account_are_counted_in_the_last,
    quota_of_one_account_hides_nothing_of_another,
    deleted_person_leaves_ids_alone,
];

fn entry(kind: EventKind, user_id: Option<UserId>, now: Timestamp) -> NewEvent {
    NewEvent {
        kind,
        user_id,
        context: RequestContext {
            operator: "root".into(),
            ip: "192.0.2.1".into(),
            user_agent: "browser".into(),
            reason: "because".into(),
            ..RequestContext::default()
        },
        detail: "detail".into(),
        now,
    }
}

async fn record(store: &dyn Store, kind: EventKind, user_id: Option<UserId>, now: Timestamp) {
    store.record_event(entry(kind, user_id, now)).await.unwrap();
}

async fn list(store: &dyn Store, query: EventQuery) -> Vec<Event> {
    store.list_events(query).await.unwrap()
}

fn all() -> EventQuery {
    EventQuery {
        limit: 1000,
        ..EventQuery::default()
    }
}

async fn entry_is_recorded(store: &dyn Store) {
    record(store, EventKind::BackupStarted, None, at(3)).await;
    let listed = list(store, all()).await;
    let expected = Event {
        id: listed[0].id,
        happened_at: at(3),
        kind: EventKind::BackupStarted,
        user_id: None,
        context: entry(EventKind::BackupStarted, None, at(3)).context,
        detail: "detail".into(),
        count: 1,
        last_at: at(3),
    };
    assert_eq!(listed, [expected]);
}

async fn entries_of_others_are_refused(store: &dyn Store) {
    for (context, reason) in outsiders(store).await {
        let entry = NewEvent {
            context,
            ..entry(EventKind::UsersExported, None, at(1))
        };
        assert_refused(store.record_event(entry).await, reason);
    }
    let listed = list(store, all()).await;
    let is_recorded = |event: &Event| event.kind == EventKind::UsersExported;
    assert!(!listed.iter().any(is_recorded));
    let id = staff(store, "staff@example.com").await;
    session_of(store, id, "staff").await;
    let entry = NewEvent {
        context: by(id, "staff"),
        ..entry(EventKind::UsersExported, None, at(1))
    };
    store.record_event(entry).await.unwrap();
    let listed = list(store, all()).await;
    let recorded = listed.iter().find(|event| is_recorded(event)).unwrap();
    assert_eq!(recorded.context.actor_id, Some(id));
    assert_eq!(recorded.context.session_id, None, "it is not kept");
}

async fn entries_of_an_account_are_listed_newest_first(store: &dyn Store) {
    for (user_id, now) in [(1, 1), (2, 2), (1, 3)] {
        record(store, EventKind::UserPromoted, Some(user_id), at(now)).await;
    }
    let page = store.list_user_events(1, PageRequest::Number(1), 10).await;
    let page = page.unwrap().unwrap();
    let times: Vec<_> = page.items.iter().map(|event| event.happened_at).collect();
    assert_eq!((page.count, times), (2, vec![at(3), at(1)]));
}

async fn pages_of_an_account_end(store: &dyn Store) {
    for now in 0..3 {
        record(store, EventKind::UserPromoted, Some(1), at(now)).await;
    }
    for (page, expected) in [
        (PageRequest::Number(1), Some((1, 2, 2))),
        (PageRequest::Number(2), Some((2, 2, 1))),
        (PageRequest::Last, Some((2, 2, 1))),
        (PageRequest::Number(3), None),
        (PageRequest::Number(0), None),
    ] {
        let found = store.list_user_events(1, page, 2).await.unwrap();
        let found = found.map(|page| (page.number, page.pages, page.items.len()));
        assert_eq!(found, expected, "{page:?}");
    }
    let none = store.list_user_events(2, PageRequest::Last, 2).await;
    assert_eq!(none.unwrap().unwrap().items, []);
}

/// Three entries: about 1 by 1, about 1 by 2, about 2 by 2.
async fn three_entries(store: &dyn Store) -> Vec<i64> {
    for (now, user_id, actor_id, kind) in [
        (1, 1, 1, EventKind::PasswordChanged),
        (2, 1, 2, EventKind::UserPromoted),
        (3, 2, 2, EventKind::PasswordChanged),
    ] {
        let mut entry = entry(kind, Some(user_id), at(now));
        entry.context.actor_id = Some(actor_id);
        store.record_event(entry).await.unwrap();
    }
    let listed = list(store, all()).await;
    listed.into_iter().map(|event| event.id).collect()
}

/// Filters of three entries, with the numbers of those that they select.
fn filters() -> [(EventFilter, &'static [usize]); 8] {
    let filter = EventFilter::default;
    [
        (filter(), &[0, 1, 2]),
        (
            EventFilter {
                user_id: Some(1),
                ..filter()
            },
            &[0, 1],
        ),
        (
            EventFilter {
                actor_id: Some(1),
                ..filter()
            },
            &[0],
        ),
        (
            EventFilter {
                actor_id: Some(2),
                ..filter()
            },
            &[1, 2],
        ),
        (
            EventFilter {
                kinds: vec![EventKind::PasswordChanged, EventKind::SignOut],
                ..filter()
            },
            &[0, 2],
        ),
        (
            EventFilter {
                since: Some(at(2)),
                ..filter()
            },
            &[1, 2],
        ),
        (
            EventFilter {
                before: Some(at(2)),
                ..filter()
            },
            &[0],
        ),
        (
            EventFilter {
                user_id: Some(1),
                actor_id: Some(2),
                kinds: vec![EventKind::PasswordChanged],
                ..filter()
            },
            &[],
        ),
    ]
}

async fn entries_are_filtered(store: &dyn Store) {
    let ids = three_entries(store).await;
    for (filter, expected) in filters() {
        let query = EventQuery {
            filter: filter.clone(),
            ..all()
        };
        let listed: Vec<_> = list(store, query)
            .await
            .iter()
            .map(|event| event.id)
            .collect();
        let expected: Vec<_> = expected.iter().map(|number| ids[*number]).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

async fn entries_are_limited_to_the_newest(store: &dyn Store) {
    let ids = three_entries(store).await;
    for (query, expected) in [
        (
            EventQuery {
                limit: 2,
                ..EventQuery::default()
            },
            &ids[1..],
        ),
        (
            EventQuery {
                after: ids[0],
                ..all()
            },
            &ids[1..],
        ),
        (
            EventQuery {
                below: Some(ids[2]),
                ..all()
            },
            &ids[..2],
        ),
        (
            EventQuery {
                after: ids[0],
                below: Some(ids[2]),
                limit: 1,
                ..EventQuery::default()
            },
            &ids[1..2],
        ),
    ] {
        let listed = list(store, query.clone()).await;
        let listed: Vec<_> = listed.iter().map(|event| event.id).collect();
        assert_eq!(listed, expected, "{query:?}");
    }
}

async fn pages_of_the_log_are_filtered_and_end(store: &dyn Store) {
    let ids = three_entries(store).await;
    for (filter, expected) in filters() {
        let page = store.list_event_page(filter.clone(), PageRequest::Number(1), 10);
        let page = page.await.unwrap().unwrap();
        let listed: Vec<_> = page.items.iter().map(|event| event.id).collect();
        let expected: Vec<_> = expected.iter().rev().map(|number| ids[*number]).collect();
        assert_eq!(listed, expected, "{filter:?}");
        assert_eq!(page.count, expected.len() as u64, "{filter:?}");
    }
    let page = async |page| {
        let found = store.list_event_page(EventFilter::default(), page, 2).await;
        found.unwrap().map(|page| page.items.len())
    };
    assert_eq!(page(PageRequest::Last).await, Some(1));
    assert_eq!(page(PageRequest::Number(3)).await, None);
}

async fn repeats_share_an_entry(store: &dyn Store) {
    for now in 0..8 {
        record(store, EventKind::SignIn, Some(1), at(now)).await;
    }
    let listed = list(store, all()).await;
    assert_eq!(listed.len(), 5, "five are listed one by one");
    let last = &listed[4];
    assert_eq!(
        (last.happened_at, last.last_at, last.count),
        (at(4), at(7), 4)
    );
    // Another client, and the next hour, get entries of their own.
    let mut other = entry(EventKind::SignIn, Some(1), at(8));
    other.context.ip = "192.0.2.2".into();
    store.record_event(other).await.unwrap();
    record(store, EventKind::SignIn, Some(1), at(3700)).await;
    assert_eq!(list(store, all()).await.len(), 7);
}

async fn fail(store: &dyn Store, user_id: Option<UserId>, number: i64) {
    let context = RequestContext {
        ip: format!("192.0.2.{number}"),
        ..RequestContext::default()
    };
    store
        .note_failed_sign_in(user_id, context, at(0))
        .await
        .unwrap();
}

async fn failures_beyond_the_quota_are_counted_alone(store: &dyn Store) {
    for number in 0..103 {
        fail(store, None, number).await;
    }
    assert_eq!(list(store, all()).await.len(), 100);
    let unlisted = async |since| store.count_unlisted_failures(since).await.unwrap();
    assert_eq!(unlisted(None).await, 3);
    assert_eq!(unlisted(Some(at(0))).await, 3);
    assert_eq!(unlisted(Some(at(3600))).await, 0);
}

async fn many_entries_of_an_account_are_counted_in_the_last(store: &dyn Store) {
    for number in 0..103 {
        fail(store, Some(1), number).await;
    }
    let listed = list(store, all()).await;
    assert_eq!(listed.len(), 100);
    assert_eq!(listed.iter().map(|event| event.count).sum::<u64>(), 103);
    assert_eq!(store.count_unlisted_failures(None).await.unwrap(), 0);
}

async fn quota_of_one_account_hides_nothing_of_another(store: &dyn Store) {
    for number in 0..101 {
        fail(store, None, number).await;
    }
    fail(store, Some(1), 0).await;
    assert_eq!(list(store, all()).await.len(), 101);
    assert_eq!(store.count_unlisted_failures(None).await.unwrap(), 1);
}

async fn deleted_person_leaves_ids_alone(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    let other = account(store, "bob@example.com").await;
    for about in [id, other] {
        let mut entry = entry(EventKind::PasswordChanged, Some(about), at(1));
        entry.context.actor_id = Some(id);
        store.record_event(entry).await.unwrap();
    }
    store.delete_user(deletion(id)).await.unwrap();
    for event in list(store, all()).await {
        let context = &event.context;
        if event.kind == EventKind::PasswordChanged {
            assert_eq!((&*context.ip, &*context.user_agent), ("", ""));
            assert_eq!(context.actor_id, Some(id));
            let is_own = event.user_id == Some(id);
            let expected = if is_own {
                ("", "")
            } else {
                ("because", "detail")
            };
            assert_eq!((&*context.reason, &*event.detail), expected);
        }
    }
}
