//! Webhooks: endpoints, their events and deliveries.

use crate::support::*;

on_every_engine![
    endpoint_is_added_and_found,
    endpoints_are_changed_and_removed_by_staff,
    endpoint_is_changed,
    file_changes_its_own_endpoints_alone,
    unknown_endpoint_is_not_found,
    secrets_are_rotated,
    removed_endpoint_takes_its_deliveries_along,
    staff_is_notified_of_changes,
    events_go_to_the_endpoints_that_select_them,
    event_of_what_was_refused_is_not_enqueued,
    event_has_the_account_as_it_is,
    sequence_grows_from_event_to_event,
    event_without_a_sealer_is_not_lost_silently,
    test_event_is_enqueued,
    events_are_claimed_once_in_the_order_of_arrival,
    unfinished_claim_expires,
    first_attempts_come_before_retries,
    leases_are_released_after_a_crash,
    delivered_event_is_closed,
    postponed_event_is_due_later,
    attempt_that_was_none_does_not_count,
    dead_event_is_closed,
    endpoint_fails_from_the_first_failure_on,
    paused_endpoint_waits,
    closed_delivery_is_not_settled_again,
    deliveries_are_filtered_and_listed_by_page,
    delivery_is_replayed,
    deliveries_are_recovered,
    disabled_endpoint_gets_nothing,
    enabled_endpoint_starts_afresh,
    program_disables_an_endpoint_once,
    deliveries_are_counted,
    deliveries_of_a_deleted_account_keep_its_id_alone,
    closed_events_are_deleted_after_a_month,
];

fn setting(id: i64) -> WebhookUpdate {
    WebhookUpdate {
        id,
        url: None,
        events: None,
        description: None,
        payload: None,
        is_enabled: None,
        is_from_file: false,
        notices: Vec::new(),
        now: at(20),
        context: RequestContext::default(),
    }
}

fn enabled(id: i64, is_enabled: bool) -> WebhookUpdate {
    WebhookUpdate {
        is_enabled: Some(is_enabled),
        ..setting(id)
    }
}

fn rotation_of(id: i64) -> RotateWebhookSecrets {
    RotateWebhookSecrets {
        id,
        secrets: b"new secrets".to_vec(),
        former_until: at(100),
        is_from_file: false,
        notices: Vec::new(),
        now: at(20),
        context: RequestContext::default(),
    }
}

fn removal(id: i64) -> DeleteWebhook {
    DeleteWebhook {
        id,
        is_from_file: false,
        notices: Vec::new(),
        now: at(20),
        context: RequestContext::default(),
    }
}

fn change(webhook_id: i64, now: Timestamp) -> WebhookChange {
    WebhookChange {
        webhook_id,
        now,
        context: RequestContext::default(),
    }
}

#[track_caller]
fn done(outcome: WebhookOutcome) -> Webhook {
    match outcome {
        WebhookOutcome::Done(webhook) => *webhook,
        WebhookOutcome::NotFound => panic!("not found"),
        WebhookOutcome::NotYours => panic!("not yours"),
    }
}

async fn find(store: &dyn Store, id: i64) -> Webhook {
    store.find_webhook(id).await.unwrap().unwrap()
}

async fn add(store: &dyn Store, url: &str, events: &[&str]) -> i64 {
    store.set_event_sealer(Arc::new(PlainSealer::default()));
    let webhook = new_webhook(url, events);
    store.create_webhook(webhook).await.unwrap().id
}

/// An endpoint for all events with test events at 1, 2, and so on. Returns the numbers of these.
async fn with_events(store: &dyn Store, count: u8) -> (i64, Vec<i64>) {
    let id = with_webhook(store).await;
    let mut events = Vec::new();
    for number in 1..=count {
        events.push(enqueue(store, id, number).await);
    }
    (id, events)
}

async fn enqueue(store: &dyn Store, id: i64, number: u8) -> i64 {
    let change = change(id, at(number.into()));
    let event = store.create_test_event([number; 16], change).await;
    event.unwrap().unwrap()
}

async fn claim_events(
    store: &dyn Store,
    id: i64,
    now: Timestamp,
    (limit, retries): (u32, u32),
) -> Vec<(i64, u32)> {
    let claimed = store.claim_events(id, claim_of(now, limit, retries)).await;
    let events = claimed.unwrap().unwrap().events;
    events.iter().map(|event| (event.id, event.tries)).collect()
}

fn settlement(webhook_id: i64, id: i64, outcome: EventOutcome) -> SettleEvent {
    let is_delivered = outcome == EventOutcome::Delivered;
    SettleEvent {
        id,
        webhook_id,
        outcome,
        problem: if is_delivered { "" } else { "refused" }.into(),
        status_code: Some(if is_delivered { 204 } else { 500 }),
        answer: b"answer".to_vec(),
        paused_until: None,
        now: at(30),
    }
}

const RETRY: EventOutcome = EventOutcome::Postponed {
    next_try_at: Timestamp::from_unix_millis(1_733_227_200_000 + 60_000),
    counts: true,
};

async fn settle(
    store: &dyn Store,
    webhook_id: i64,
    id: i64,
    outcome: EventOutcome,
) -> Option<Timestamp> {
    let settlement = settlement(webhook_id, id, outcome);
    store.settle_event(settlement).await.unwrap()
}

fn query(webhook_id: i64) -> WebhookDeliveryQuery {
    WebhookDeliveryQuery {
        webhook_id,
        status: None,
        page: PageRequest::Number(1),
        page_size: 100,
    }
}

async fn deliveries(store: &dyn Store, webhook_id: i64) -> Vec<WebhookDelivery> {
    let page = store.list_webhook_deliveries(query(webhook_id)).await;
    page.unwrap().unwrap().items
}

async fn delivery(store: &dyn Store, webhook_id: i64, id: i64) -> WebhookDelivery {
    let deliveries = deliveries(store, webhook_id).await;
    deliveries.into_iter().find(|found| found.id == id).unwrap()
}

/// What waits for an endpoint: the texts of the events.
async fn waiting(store: &dyn Store, id: i64) -> Vec<String> {
    let claimed = store.claim_events(id, claim_of(at(40), 100, 100)).await;
    let events = claimed.unwrap().unwrap().events.into_iter();
    events
        .map(|event| String::from_utf8(event.content).unwrap())
        .collect()
}

async fn counts(store: &dyn Store, id: i64) -> WebhookCounts {
    let counts = store.count_webhook_deliveries().await.unwrap();
    counts.into_iter().find(|counts| counts.id == id).unwrap()
}

async fn endpoint_is_added_and_found(store: &dyn Store) {
    assert!(store.list_webhooks().await.unwrap().is_empty());
    let new = NewWebhook {
        payload: WebhookPayload::Thin,
        is_from_file: true,
        now: at(5),
        ..new_webhook("https://one.example/", &["user.*", "session.ended"])
    };
    let created = store.create_webhook(new).await.unwrap();
    let second = add(store, "https://two.example/", &["*"]).await;
    let found = find(store, created.id).await;
    assert!(found == created);
    assert_eq!(
        (&*found.url, &*found.description),
        ("https://one.example/", "about https://one.example/")
    );
    assert_eq!(found.events.as_text(), "user.* session.ended");
    assert_eq!(
        (found.payload, &*found.secrets),
        (WebhookPayload::Thin, &b"secrets"[..])
    );
    assert!(found.is_from_file && found.former_secrets.is_none());
    assert_eq!((found.created_at, found.updated_at), (at(5), at(5)));
    assert_eq!(
        (found.disabled, found.failing_since, found.paused_until),
        (None, None, None)
    );
    let listed = store.list_webhooks().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|webhook| webhook.id).collect();
    assert_eq!(listed, [created.id, second]);
    assert!(store.find_webhook(second + 1).await.unwrap().is_none());
}

async fn endpoints_are_changed_and_removed_by_staff(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    for (context, reason) in outsiders(store).await {
        let new = NewWebhook {
            context: context.clone(),
            ..new_webhook("https://two.example/", &["*"])
        };
        assert_refused(store.create_webhook(new).await, reason);
        let update = WebhookUpdate {
            context: context.clone(),
            ..enabled(id, false)
        };
        assert_refused(store.update_webhook(update).await, reason);
        let rotation = RotateWebhookSecrets {
            context: context.clone(),
            ..rotation_of(id)
        };
        assert_refused(store.rotate_webhook_secrets(rotation).await, reason);
        let removal = DeleteWebhook {
            context: context.clone(),
            ..removal(id)
        };
        assert_refused(store.delete_webhook(removal).await, reason);
        let change = WebhookChange {
            context,
            ..change(id, at(20))
        };
        assert_refused(
            store.create_test_event([9; 16], change.clone()).await,
            reason,
        );
        assert_refused(
            store.replay_delivery(events[0], change.clone()).await,
            reason,
        );
        assert_refused(store.recover_deliveries(at(0), change).await, reason);
    }
    let left = find(store, id).await;
    assert_eq!(
        (left.updated_at, left.disabled, &*left.secrets),
        (at(0), None, &b"secrets"[..])
    );
    assert_eq!(store.list_webhooks().await.unwrap().len(), 1);
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    let update = WebhookUpdate {
        context: by(root, "root"),
        ..enabled(id, false)
    };
    done(store.update_webhook(update).await.unwrap());
}

async fn endpoint_is_changed(store: &dyn Store) {
    let id = with_webhook(store).await;
    let other = add(store, "https://two.example/", &["*"]).await;
    let update = WebhookUpdate {
        url: Some("https://new.example/".into()),
        events: Some(EventSelection::parse(["session.*"]).unwrap()),
        description: Some("new".into()),
        payload: Some(WebhookPayload::Thin),
        ..setting(id)
    };
    let changed = done(store.update_webhook(update).await.unwrap());
    assert_eq!(
        (&*changed.url, &*changed.description),
        ("https://new.example/", "new")
    );
    assert_eq!(
        (changed.events.as_text(), changed.payload),
        ("session.*".into(), WebhookPayload::Thin)
    );
    assert_eq!(
        (changed.created_at, changed.updated_at, changed.disabled),
        (at(0), at(20), None)
    );
    assert!(find(store, id).await == changed);
    let nothing = WebhookUpdate {
        now: at(21),
        ..setting(id)
    };
    let same = done(store.update_webhook(nothing).await.unwrap());
    assert_eq!(
        (same.url, same.events, same.payload),
        (changed.url, changed.events, changed.payload)
    );
    assert_eq!(find(store, other).await.url, "https://two.example/");
}

async fn file_changes_its_own_endpoints_alone(store: &dyn Store) {
    let of_staff = with_webhook(store).await;
    let of_file = NewWebhook {
        is_from_file: true,
        ..new_webhook("https://file.example/", &["*"])
    };
    let of_file = store.create_webhook(of_file).await.unwrap().id;
    for (id, is_from_file) in [(of_staff, true), (of_file, false)] {
        let update = WebhookUpdate {
            is_from_file,
            ..enabled(id, false)
        };
        let rotation = RotateWebhookSecrets {
            is_from_file,
            ..rotation_of(id)
        };
        let removal = DeleteWebhook {
            is_from_file,
            ..removal(id)
        };
        for outcome in [
            store.update_webhook(update).await.unwrap(),
            store.rotate_webhook_secrets(rotation).await.unwrap(),
            store.delete_webhook(removal).await.unwrap(),
        ] {
            assert!(outcome == WebhookOutcome::NotYours);
        }
        assert_eq!(find(store, id).await.updated_at, at(0));
    }
    let own = WebhookUpdate {
        is_from_file: true,
        ..enabled(of_file, false)
    };
    done(store.update_webhook(own).await.unwrap());
}

async fn unknown_endpoint_is_not_found(store: &dyn Store) {
    let id = with_webhook(store).await + 1;
    for outcome in [
        store.update_webhook(setting(id)).await.unwrap(),
        store.rotate_webhook_secrets(rotation_of(id)).await.unwrap(),
        store.delete_webhook(removal(id)).await.unwrap(),
    ] {
        assert!(outcome == WebhookOutcome::NotFound);
    }
    let change = change(id, at(20));
    assert_eq!(
        store
            .create_test_event([9; 16], change.clone())
            .await
            .unwrap(),
        None
    );
    let replayed = store.replay_delivery(1, change.clone()).await.unwrap();
    assert_eq!(replayed, ReplayOutcome::NotFound);
    let recovered = store.recover_deliveries(at(0), change).await.unwrap();
    assert_eq!(recovered, ReplayOutcome::NotFound);
    assert!(
        store
            .claim_events(id, claim_of(at(20), 10, 10))
            .await
            .unwrap()
            .is_none()
    );
}

async fn secrets_are_rotated(store: &dyn Store) {
    let id = with_webhook(store).await;
    let rotated = done(store.rotate_webhook_secrets(rotation_of(id)).await.unwrap());
    assert_eq!(&*rotated.secrets, b"new secrets");
    assert_eq!(rotated.former_secrets, Some((b"secrets".to_vec(), at(100))));
    assert!(find(store, id).await == rotated);
    let again = RotateWebhookSecrets {
        secrets: b"third".to_vec(),
        ..rotation_of(id)
    };
    let rotated = done(store.rotate_webhook_secrets(again).await.unwrap());
    assert_eq!(
        rotated.former_secrets,
        Some((b"new secrets".to_vec(), at(100)))
    );
}

async fn removed_endpoint_takes_its_deliveries_along(store: &dyn Store) {
    let (id, events) = with_events(store, 2).await;
    let before = find(store, id).await;
    assert!(done(store.delete_webhook(removal(id)).await.unwrap()) == before);
    assert!(store.list_webhooks().await.unwrap().is_empty());
    assert!(deliveries(store, id).await.is_empty());
    assert!(store.list_waiting_webhooks().await.unwrap().is_empty());
    assert_eq!(
        settle(store, id, events[0], EventOutcome::Delivered).await,
        None
    );
    let again = store.delete_webhook(removal(id)).await.unwrap();
    assert!(again == WebhookOutcome::NotFound);
}

async fn staff_is_notified_of_changes(store: &dyn Store) {
    assert_eq!(store.count_staff_mailboxes().await.unwrap(), 0);
    for number in 1..=3 {
        staff(store, &format!("root{number}@example.com")).await;
    }
    account(store, "ann@example.com").await;
    let inactive = store
        .find_user_by_email("root2@example.com")
        .await
        .unwrap()
        .unwrap();
    set_active(store, inactive.id, false).await;
    assert_eq!(store.count_staff_mailboxes().await.unwrap(), 2);
    let notices = |text: &str| vec![notice(text), notice(text), notice(text)];
    let new = NewWebhook {
        notices: notices("added"),
        ..new_webhook("https://hooks.example/", &["user.deleted"])
    };
    let id = store.create_webhook(new).await.unwrap().id;
    let update = WebhookUpdate {
        notices: notices("changed"),
        ..setting(id)
    };
    done(store.update_webhook(update).await.unwrap());
    let rotation = RotateWebhookSecrets {
        notices: notices("rotated"),
        ..rotation_of(id)
    };
    done(store.rotate_webhook_secrets(rotation).await.unwrap());
    let disabling = DisableWebhook {
        id,
        reason: WebhookDisabled::Gone,
        notices: notices("disabled"),
        now: at(20),
    };
    assert!(store.disable_webhook(disabling).await.unwrap());
    let removal = DeleteWebhook {
        notices: notices("removed"),
        ..removal(id)
    };
    done(store.delete_webhook(removal).await.unwrap());
    let mut expected = Vec::new();
    for text in ["added", "changed", "rotated", "disabled", "removed"] {
        for email in ["root1@example.com", "root3@example.com"] {
            expected.push((email.to_owned(), text.to_owned()));
        }
    }
    assert_eq!(mails(store).await, expected);
}

async fn events_go_to_the_endpoints_that_select_them(store: &dyn Store) {
    let all = with_webhook(store).await;
    let users = add(store, "https://users.example/", &["user.*"]).await;
    let sessions = add(store, "https://sessions.example/", &["session.created"]).await;
    let disabled = add(store, "https://disabled.example/", &["*"]).await;
    done(
        store
            .update_webhook(enabled(disabled, false))
            .await
            .unwrap(),
    );
    let id = account(store, "ann@example.com").await;
    session_of(store, id, "s").await;
    let created = "user.created ann@example.com full";
    let started = "session.created s pwd full";
    let full = waiting(store, all).await;
    assert!(
        full.contains(&created.to_owned()) && full.contains(&started.to_owned()),
        "{full:?}"
    );
    assert_eq!(waiting(store, users).await, [created]);
    assert_eq!(waiting(store, sessions).await, [started]);
    assert!(deliveries(store, disabled).await.is_empty());
}

async fn event_of_what_was_refused_is_not_enqueued(store: &dyn Store) {
    let id = with_webhook(store).await;
    let user_id = account(store, "ann@example.com").await;
    session_of(store, user_id, "s").await;
    let before = deliveries(store, id).await.len();
    let taken = store
        .create_session(sign_in(user_id, "hash", "s", at(5)))
        .await;
    assert!(taken.is_err());
    store
        .create_session(sign_in(user_id, "wrong", "t", at(5)))
        .await
        .unwrap();
    assert_eq!(deliveries(store, id).await.len(), before);
}

async fn event_has_the_account_as_it_is(store: &dyn Store) {
    let thin = NewWebhook {
        payload: WebhookPayload::Thin,
        ..new_webhook("https://hooks.example/", &["user.created", "user.deleted"])
    };
    store.set_event_sealer(Arc::new(PlainSealer::default()));
    let id = store.create_webhook(thin).await.unwrap().id;
    let user_id = account(store, "ann@example.com").await;
    assert_eq!(
        waiting(store, id).await,
        ["user.created ann@example.com thin"]
    );
    let listed = deliveries(store, id).await;
    assert_eq!(
        (&*listed[0].event, listed[0].user_id),
        ("user.created", Some(user_id))
    );
}

async fn sequence_grows_from_event_to_event(store: &dyn Store) {
    let first = with_webhook(store).await;
    let second = add(store, "https://two.example/", &["*"]).await;
    for email in ["ann@example.com", "bob@example.com"] {
        account(store, email).await;
    }
    let sequences = async |id| {
        let claimed = store.claim_events(id, claim_of(at(5), 100, 100)).await;
        let events = claimed.unwrap().unwrap().events;
        events
            .iter()
            .map(|event| event.sequence)
            .collect::<Vec<_>>()
    };
    let numbers = sequences(first).await;
    assert!(
        numbers.len() >= 2 && numbers.is_sorted_by(|a, b| a < b),
        "{numbers:?}"
    );
    assert_eq!(sequences(second).await, numbers, "an event has one number");
}

async fn event_without_a_sealer_is_not_lost_silently(store: &dyn Store) {
    let webhook = new_webhook("https://hooks.example/", &["user.*"]);
    store.create_webhook(webhook).await.unwrap();
    let refused = store
        .create_verified_user(new_user("ann@example.com"))
        .await;
    assert!(refused.is_err());
    assert_eq!(
        store.find_user_by_email("ann@example.com").await.unwrap(),
        None
    );
}

async fn test_event_is_enqueued(store: &dyn Store) {
    let sealer = Arc::new(PlainSealer::default());
    store.set_event_sealer(sealer.clone());
    let webhook = new_webhook("https://hooks.example/", &["user.*"]);
    let id = store.create_webhook(webhook).await.unwrap().id;
    let event = enqueue(store, id, 5).await;
    let expected = WebhookDelivery {
        id: event,
        message_id: [5; 16],
        event: WEBHOOK_TEST.into(),
        user_id: None,
        status: DeliveryStatus::Pending,
        tries: 0,
        problem: String::new(),
        status_code: None,
        answer: Vec::new(),
        created_at: at(5),
        last_try_at: None,
        next_try_at: Some(at(5)),
        closed_at: None,
    };
    assert_eq!(deliveries(store, id).await, [expected]);
    assert_eq!(
        sealer.enqueued.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "reported once"
    );
}

async fn events_are_claimed_once_in_the_order_of_arrival(store: &dyn Store) {
    let (id, events) = with_events(store, 3).await;
    let waits = [WaitingWebhook { id, due_at: at(1) }];
    assert_eq!(store.list_waiting_webhooks().await.unwrap(), waits);
    let claimed = claim_events(store, id, at(10), (2, 10)).await;
    assert_eq!(claimed, [(events[0], 1), (events[1], 1)]);
    assert_eq!(
        claim_events(store, id, at(10), (2, 10)).await,
        [(events[2], 1)]
    );
    assert!(claim_events(store, id, at(10), (2, 10)).await.is_empty());
    let listed = delivery(store, id, events[0]).await;
    assert_eq!(
        (listed.tries, listed.last_try_at, listed.next_try_at),
        (1, Some(at(10)), None)
    );
    let later = with_webhook(store).await;
    assert!(
        claim_events(store, later, at(10), (10, 10))
            .await
            .is_empty()
    );
}

async fn unfinished_claim_expires(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    assert!(claim_events(store, id, at(309), (10, 10)).await.is_empty());
    assert_eq!(
        claim_events(store, id, at(310), (10, 10)).await,
        [(events[0], 2)]
    );
}

async fn first_attempts_come_before_retries(store: &dyn Store) {
    let (id, events) = with_events(store, 2).await;
    claim_events(store, id, at(10), (10, 10)).await;
    for event in &events {
        settle(store, id, *event, RETRY).await;
    }
    let new = enqueue(store, id, 60).await;
    let claimed = claim_events(store, id, at(60), (10, 1)).await;
    assert_eq!(claimed, [(new, 1), (events[0], 2)]);
    assert_eq!(
        claim_events(store, id, at(60), (1, 10)).await,
        [(events[1], 2)]
    );
}

async fn leases_are_released_after_a_crash(store: &dyn Store) {
    let (id, _) = with_events(store, 2).await;
    claim_events(store, id, at(10), (10, 10)).await;
    // Where several servers share the store, leases may belong to others, and only end by time.
    let released = if store.keeps_photos() { 0 } else { 2 };
    assert_eq!(store.release_events(at(11)).await.unwrap(), released);
    let claimed = claim_events(store, id, at(11), (10, 10)).await;
    assert_eq!(claimed.len(), released);
}

async fn delivered_event_is_closed(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    assert_eq!(
        settle(store, id, events[0], EventOutcome::Delivered).await,
        None
    );
    let listed = delivery(store, id, events[0]).await;
    assert_eq!(
        (listed.status, listed.closed_at),
        (DeliveryStatus::Delivered, Some(at(30)))
    );
    assert_eq!(
        (listed.status_code, &*listed.answer),
        (Some(204), &b"answer"[..])
    );
    assert!(store.list_waiting_webhooks().await.unwrap().is_empty());
    assert!(
        claim_events(store, id, at(10_000), (10, 10))
            .await
            .is_empty()
    );
}

async fn postponed_event_is_due_later(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    assert_eq!(settle(store, id, events[0], RETRY).await, Some(at(30)));
    let listed = delivery(store, id, events[0]).await;
    assert_eq!(
        (listed.status, &*listed.problem),
        (DeliveryStatus::Failed, "refused")
    );
    assert_eq!(
        (listed.status_code, listed.next_try_at),
        (Some(500), Some(at(60)))
    );
    let waits = [WaitingWebhook { id, due_at: at(60) }];
    assert_eq!(store.list_waiting_webhooks().await.unwrap(), waits);
    assert!(claim_events(store, id, at(59), (10, 10)).await.is_empty());
    assert_eq!(
        claim_events(store, id, at(60), (10, 10)).await,
        [(events[0], 2)]
    );
}

async fn attempt_that_was_none_does_not_count(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    let not_tried = EventOutcome::Postponed {
        next_try_at: at(60),
        counts: false,
    };
    assert_eq!(settle(store, id, events[0], not_tried).await, None);
    let listed = delivery(store, id, events[0]).await;
    assert_eq!((listed.tries, listed.status_code), (0, None));
    assert_eq!(counts(store, id).await.failed, 0);
}

async fn dead_event_is_closed(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    settle(store, id, events[0], EventOutcome::Dead).await;
    let listed = delivery(store, id, events[0]).await;
    assert_eq!(
        (listed.status, listed.closed_at),
        (DeliveryStatus::Dead, Some(at(30)))
    );
    assert_eq!(listed.problem, "refused");
    assert!(
        claim_events(store, id, at(10_000), (10, 10))
            .await
            .is_empty()
    );
}

async fn endpoint_fails_from_the_first_failure_on(store: &dyn Store) {
    let (id, events) = with_events(store, 3).await;
    claim_events(store, id, at(10), (10, 10)).await;
    assert_eq!(settle(store, id, events[0], RETRY).await, Some(at(30)));
    let later = SettleEvent {
        now: at(50),
        ..settlement(id, events[1], RETRY)
    };
    assert_eq!(store.settle_event(later).await.unwrap(), Some(at(30)));
    assert_eq!(find(store, id).await.failing_since, Some(at(30)));
    assert_eq!(
        settle(store, id, events[2], EventOutcome::Delivered).await,
        None
    );
    assert_eq!(find(store, id).await.failing_since, None);
}

async fn paused_endpoint_waits(store: &dyn Store) {
    let (id, events) = with_events(store, 2).await;
    claim_events(store, id, at(10), (1, 10)).await;
    let pausing = |paused_until| SettleEvent {
        paused_until: Some(paused_until),
        ..settlement(id, events[0], RETRY)
    };
    for until in [at(500), at(400)] {
        store.settle_event(pausing(until)).await.unwrap();
        assert_eq!(find(store, id).await.paused_until, Some(at(500)));
    }
    let waits = [WaitingWebhook {
        id,
        due_at: at(500),
    }];
    assert_eq!(store.list_waiting_webhooks().await.unwrap(), waits);
    settle(store, id, events[1], EventOutcome::Delivered).await;
    assert_eq!(find(store, id).await.paused_until, None);
}

async fn closed_delivery_is_not_settled_again(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    settle(store, id, events[0], EventOutcome::Delivered).await;
    let before = delivery(store, id, events[0]).await;
    for outcome in [RETRY, EventOutcome::Dead] {
        settle(store, id, events[0], outcome).await;
        assert_eq!(delivery(store, id, events[0]).await, before);
    }
}

/// Four deliveries, one in each state.
async fn in_all_states(store: &dyn Store) -> (i64, Vec<i64>) {
    let (id, events) = with_events(store, 4).await;
    claim_events(store, id, at(10), (3, 10)).await;
    for (event, outcome) in events
        .iter()
        .zip([EventOutcome::Delivered, RETRY, EventOutcome::Dead])
    {
        settle(store, id, *event, outcome).await;
    }
    (id, events)
}

async fn deliveries_are_filtered_and_listed_by_page(store: &dyn Store) {
    let (id, events) = in_all_states(store).await;
    let other = add(store, "https://two.example/", &["*"]).await;
    enqueue(store, other, 9).await;
    let list = async |query| {
        let page = store.list_webhook_deliveries(query).await.unwrap()?;
        let ids = page.items.iter().map(|found| found.id).collect::<Vec<_>>();
        Some((page.count, ids))
    };
    let newest_first: Vec<_> = events.iter().rev().copied().collect();
    assert_eq!(list(query(id)).await, Some((4, newest_first.clone())));
    for (status, event) in [
        (DeliveryStatus::Delivered, events[0]),
        (DeliveryStatus::Failed, events[1]),
        (DeliveryStatus::Dead, events[2]),
        (DeliveryStatus::Pending, events[3]),
    ] {
        let query = WebhookDeliveryQuery {
            status: Some(status),
            ..query(id)
        };
        assert_eq!(list(query).await, Some((1, vec![event])), "{status:?}");
    }
    let page = |page| WebhookDeliveryQuery {
        page,
        page_size: 3,
        ..query(id)
    };
    let first = list(page(PageRequest::Number(1))).await;
    assert_eq!(first, Some((4, newest_first[..3].to_vec())));
    assert_eq!(
        list(page(PageRequest::Last)).await,
        Some((4, vec![events[0]]))
    );
    assert_eq!(list(page(PageRequest::Number(3))).await, None);
}

async fn delivery_is_replayed(store: &dyn Store) {
    let (id, events) = in_all_states(store).await;
    let other = add(store, "https://two.example/", &["*"]).await;
    let replay = async |webhook_id, event| {
        let change = change(webhook_id, at(40));
        store.replay_delivery(event, change).await.unwrap()
    };
    assert_eq!(replay(other, events[0]).await, ReplayOutcome::NotFound);
    assert_eq!(replay(id, events[3] + 100).await, ReplayOutcome::NotFound);
    for event in &events[..3] {
        assert_eq!(replay(id, *event).await, ReplayOutcome::Due(1));
        let due = delivery(store, id, *event).await;
        assert_eq!(
            (due.status, due.tries, due.closed_at),
            (DeliveryStatus::Pending, 0, None)
        );
        assert_eq!(due.next_try_at, Some(at(40)));
    }
    let all: Vec<_> = events.iter().map(|event| (*event, 1)).collect();
    assert_eq!(claim_events(store, id, at(40), (10, 10)).await, all);
    // One in flight is left to its worker.
    assert_eq!(replay(id, events[0]).await, ReplayOutcome::Due(1));
    assert!(claim_events(store, id, at(41), (10, 10)).await.is_empty());
}

async fn deliveries_are_recovered(store: &dyn Store) {
    let (id, events) = in_all_states(store).await;
    let recover = async |since| {
        let change = change(id, at(40));
        store.recover_deliveries(since, change).await.unwrap()
    };
    assert_eq!(recover(at(3)).await, ReplayOutcome::Due(1), "the dead one");
    assert_eq!(
        recover(at(0)).await,
        ReplayOutcome::Due(1),
        "the failed one"
    );
    assert_eq!(recover(at(0)).await, ReplayOutcome::Due(0));
    let delivered = delivery(store, id, events[0]).await;
    assert_eq!(delivered.status, DeliveryStatus::Delivered);
    assert_eq!(claim_events(store, id, at(40), (10, 10)).await.len(), 3);
}

async fn disabled_endpoint_gets_nothing(store: &dyn Store) {
    let (id, events) = with_events(store, 2).await;
    claim_events(store, id, at(10), (1, 10)).await;
    let disabled = done(store.update_webhook(enabled(id, false)).await.unwrap());
    assert_eq!(disabled.disabled, Some((at(20), WebhookDisabled::Staff)));
    for event in &events {
        let closed = delivery(store, id, *event).await;
        assert_eq!(
            (closed.status, closed.closed_at),
            (DeliveryStatus::Dead, Some(at(20)))
        );
        assert!(!closed.problem.is_empty());
    }
    assert!(
        store
            .claim_events(id, claim_of(at(30), 10, 10))
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.list_waiting_webhooks().await.unwrap().is_empty());
    account(store, "ann@example.com").await;
    assert_eq!(deliveries(store, id).await.len(), 2);
    let change = change(id, at(30));
    let replayed = store
        .replay_delivery(events[0], change.clone())
        .await
        .unwrap();
    assert_eq!(replayed, ReplayOutcome::Disabled);
    let recovered = store.recover_deliveries(at(0), change).await.unwrap();
    assert_eq!(recovered, ReplayOutcome::Disabled);
    // Disabled again, it keeps the time and the reason.
    let again = WebhookUpdate {
        now: at(25),
        ..enabled(id, false)
    };
    let again = done(store.update_webhook(again).await.unwrap());
    assert_eq!(again.disabled, Some((at(20), WebhookDisabled::Staff)));
}

async fn enabled_endpoint_starts_afresh(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    claim_events(store, id, at(10), (10, 10)).await;
    let failed = SettleEvent {
        paused_until: Some(at(500)),
        ..settlement(id, events[0], RETRY)
    };
    store.settle_event(failed).await.unwrap();
    done(store.update_webhook(enabled(id, false)).await.unwrap());
    let fresh = done(store.update_webhook(enabled(id, true)).await.unwrap());
    assert_eq!(
        (fresh.disabled, fresh.failing_since, fresh.paused_until),
        (None, None, None)
    );
    account(store, "ann@example.com").await;
    assert_eq!(
        waiting(store, id).await,
        ["user.created ann@example.com full"]
    );
    // Another address is a fresh start too.
    let failing = settlement(id, events[0], RETRY);
    assert!(store.settle_event(failing).await.unwrap().is_some());
    let moved = WebhookUpdate {
        url: Some("https://new.example/".into()),
        ..setting(id)
    };
    let moved = done(store.update_webhook(moved).await.unwrap());
    assert_eq!(moved.failing_since, None);
}

async fn program_disables_an_endpoint_once(store: &dyn Store) {
    let (id, events) = with_events(store, 1).await;
    let disable = async |id, reason| {
        let request = DisableWebhook {
            id,
            reason,
            notices: Vec::new(),
            now: at(20),
        };
        store.disable_webhook(request).await.unwrap()
    };
    assert!(!disable(id + 1, WebhookDisabled::Gone).await);
    assert!(disable(id, WebhookDisabled::Failing).await);
    assert!(!disable(id, WebhookDisabled::Gone).await);
    let disabled = find(store, id).await.disabled;
    assert_eq!(disabled, Some((at(20), WebhookDisabled::Failing)));
    let closed = delivery(store, id, events[0]).await;
    assert_eq!(closed.status, DeliveryStatus::Dead);
}

async fn deliveries_are_counted(store: &dyn Store) {
    let (id, _) = in_all_states(store).await;
    let other = add(store, "https://two.example/", &["*"]).await;
    let expected = WebhookCounts {
        id,
        waiting: 2,
        oldest_at: Some(at(2)),
        delivered: 1,
        failed: 2,
        dead: 1,
    };
    assert_eq!(counts(store, id).await, expected);
    let nothing = WebhookCounts {
        id: other,
        waiting: 0,
        oldest_at: None,
        delivered: 0,
        failed: 0,
        dead: 0,
    };
    assert_eq!(counts(store, other).await, nothing);
    done(store.update_webhook(enabled(id, false)).await.unwrap());
    let left = counts(store, id).await;
    assert_eq!((left.waiting, left.dead), (0, 3));
}

async fn deliveries_of_a_deleted_account_keep_its_id_alone(store: &dyn Store) {
    let id = add(store, "https://hooks.example/", &["user.created"]).await;
    let user_id = account(store, "ann@example.com").await;
    store.delete_user(deletion(user_id)).await.unwrap();
    assert_eq!(waiting(store, id).await, [""]);
    assert_eq!(deliveries(store, id).await[0].user_id, Some(user_id));
}

async fn closed_events_are_deleted_after_a_month(store: &dyn Store) {
    let (id, events) = in_all_states(store).await;
    let month = at(30).plus(DAY * 30);
    let before = month.minus(Duration::from_millis(1));
    store.delete_expired(before, None, None).await.unwrap();
    assert_eq!(deliveries(store, id).await.len(), 4);
    store.delete_expired(month, None, None).await.unwrap();
    let left: Vec<_> = deliveries(store, id)
        .await
        .iter()
        .map(|found| found.id)
        .collect();
    assert_eq!(left, [events[3], events[1]], "what waits stays");
}
