//! The mail queue.

use crate::support::*;

on_every_engine![
    queue_begins_empty,
    mail_is_queued_with_its_cause,
    one_claim_at_a_time_has_a_mail,
    postponed_mail_is_due_at_its_time,
    attempt_that_does_not_count_leaves_the_number,
    unfinished_claim_expires,
    leases_are_released_after_a_crash,
    new_mails_come_before_retries,
    time_of_a_wrong_clock_does_not_hold_a_mail,
    delivered_mail_is_deleted,
    mail_given_up_is_kept_with_its_problem,
    mail_given_up_is_retried_while_it_is_valid,
    retry_of_a_mail_in_delivery_changes_nothing,
    expired_mail_is_not_retried,
    mail_is_discarded,
    changes_of_mails_need_staff,
    entries_are_filtered_and_searched,
    entries_are_listed_by_page,
    closed_mails_are_deleted_after_a_week,
    replaced_code_is_not_mailed,
    mail_of_a_used_code_is_deleted,
    mails_of_a_deleted_account_are_deleted,
    notice_of_a_deletion_outlives_the_account,
    deleted_mails_are_purged,
];

/// Signs an address up; its mail contains the code.
async fn queue(store: &dyn Store, email: &str, code: &str, now: Timestamp) -> UserId {
    created(
        store
            .create_sign_up(sign_up(email, "hash", code, now))
            .await
            .unwrap(),
    )
}

/// Two mails, `c1` and `c2`, that were claimed at the start.
async fn two_claimed(store: &dyn Store) -> [i64; 2] {
    queue(store, "q1@Example.com", "c1", at(0)).await;
    queue(store, "q2@example.com", "c2", at(0)).await;
    let claimed = claim(store, at(0), 10, 10).await;
    [claimed.mails[0].id, claimed.mails[1].id]
}

async fn postpone(store: &dyn Store, id: i64, next_try_at: Timestamp, counts: bool) {
    let postponed = PostponeMail {
        id,
        next_try_at,
        counts,
        problem: "greylisted".into(),
    };
    store.postpone_mail(postponed).await.unwrap();
}

async fn give_up(store: &dyn Store, id: i64) {
    let request = GiveUpMail {
        id,
        problem: "no such user".into(),
        now: at(1),
    };
    store.give_up_mail(request).await.unwrap();
}

fn query(state: Option<MailState>) -> MailQuery {
    MailQuery {
        state,
        user_id: None,
        search: String::new(),
        page: PageRequest::Number(1),
        page_size: 100,
    }
}

async fn entries(store: &dyn Store, state: Option<MailState>) -> Vec<MailEntry> {
    let page = store.list_mail_entries(query(state)).await.unwrap();
    page.unwrap().items
}

async fn states(store: &dyn Store) -> Vec<(String, MailState)> {
    let entries = entries(store, None).await.into_iter();
    entries.map(|mail| (mail.email, mail.state)).collect()
}

fn change(id: i64, now: Timestamp) -> MailChange {
    MailChange {
        id,
        now,
        context: RequestContext::default(),
    }
}

async fn queue_begins_empty(store: &dyn Store) {
    assert_eq!(store.find_mail_queue().await.unwrap(), MailQueue::default());
    assert_eq!(store.find_next_mail().await.unwrap(), None);
    assert!(mails(store).await.is_empty());
    assert_eq!(contents(&claim(store, at(0), 10, 10).await), []);
}

async fn mail_is_queued_with_its_cause(store: &dyn Store) {
    let first = queue(store, "q1@Example.com", "c1", at(0)).await;
    let second = queue(store, "q2@example.com", "c2", at(0)).await;
    assert_eq!(store.find_next_mail().await.unwrap(), Some(at(0)));
    let both = claim(store, at(0), 10, 10).await;
    let expected = [
        ("c1", "q1@example.com", "de", 1),
        ("c2", "q2@example.com", "de", 1),
    ];
    assert_eq!(contents(&both), expected);
    let subjects = (both.mails[0].subject, both.mails[1].subject);
    assert_eq!(
        subjects,
        (MailSubject::User(first), MailSubject::User(second))
    );
    assert_eq!(
        (both.mails[0].created_at, both.mails[0].expires_at),
        (at(0), at(600))
    );
}

async fn one_claim_at_a_time_has_a_mail(store: &dyn Store) {
    two_claimed(store).await;
    assert_eq!(contents(&claim(store, at(0), 10, 10).await), []);
    let queue = store.find_mail_queue().await.unwrap();
    assert_eq!((queue.waiting, queue.oldest_at), (2, Some(at(0))));
}

async fn postponed_mail_is_due_at_its_time(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    postpone(store, first, at(30), true).await;
    assert_eq!(store.find_next_mail().await.unwrap(), Some(at(30)));
    assert_eq!(contents(&claim(store, at(29), 10, 10).await), []);
    let claimed = claim(store, at(30), 10, 10).await;
    assert_eq!(contents(&claimed), [("c1", "q1@example.com", "de", 2)]);
    let listed = entries(store, Some(MailState::Sending)).await;
    assert_eq!(listed[1].problem, "greylisted");
}

async fn attempt_that_does_not_count_leaves_the_number(store: &dyn Store) {
    let [_, second] = two_claimed(store).await;
    postpone(store, second, at(0), false).await;
    let claimed = claim(store, at(0), 10, 10).await;
    assert_eq!(contents(&claimed), [("c2", "q2@example.com", "de", 1)]);
}

async fn unfinished_claim_expires(store: &dyn Store) {
    two_claimed(store).await;
    assert_eq!(contents(&claim(store, at(299), 10, 10).await), []);
    let claimed = claim(store, at(300), 10, 10).await;
    let expected = [
        ("c1", "q1@example.com", "de", 2),
        ("c2", "q2@example.com", "de", 2),
    ];
    assert_eq!(contents(&claimed), expected);
}

async fn leases_are_released_after_a_crash(store: &dyn Store) {
    two_claimed(store).await;
    // Where several servers share the store, leases may belong to others, and only end by time.
    let is_shared = store.keeps_photos();
    let released = if is_shared { 0 } else { 2 };
    assert_eq!(store.release_mails(at(1)).await.unwrap(), released);
    assert_eq!(store.release_mails(at(1)).await.unwrap(), 0);
    let claimed = claim(store, at(1), 10, 10).await;
    assert_eq!(claimed.mails.len(), released);
}

async fn new_mails_come_before_retries(store: &dyn Store) {
    for id in two_claimed(store).await {
        postpone(store, id, at(10), true).await;
    }
    queue(store, "q3@example.com", "c3", at(10)).await;
    let claimed = claim(store, at(10), 10, 1).await;
    let expected = [
        ("c3", "q3@example.com", "de", 1),
        ("c1", "q1@example.com", "de", 2),
    ];
    assert_eq!(contents(&claimed), expected);
    let claimed = claim(store, at(10), 1, 10).await;
    assert_eq!(contents(&claimed), [("c2", "q2@example.com", "de", 2)]);
}

async fn time_of_a_wrong_clock_does_not_hold_a_mail(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    postpone(store, first, at(30).plus(DAY * 2), true).await;
    let claimed = claim(store, at(30), 10, 10).await;
    assert_eq!(contents(&claimed), [("c1", "q1@example.com", "de", 2)]);
}

async fn delivered_mail_is_deleted(store: &dyn Store) {
    let [first, second] = two_claimed(store).await;
    store.delete_mail(first).await.unwrap();
    assert_eq!(store.find_mail_queue().await.unwrap().waiting, 1);
    store.delete_mail(first).await.unwrap();
    store.delete_mail(second).await.unwrap();
    assert_eq!(store.find_mail_queue().await.unwrap(), MailQueue::default());
}

async fn mail_given_up_is_kept_with_its_problem(store: &dyn Store) {
    let [first, second] = two_claimed(store).await;
    let sending = entries(store, Some(MailState::Sending)).await;
    assert_eq!((sending.len(), sending[0].id), (2, second));
    give_up(store, first).await;
    let failed = entries(store, Some(MailState::Failed)).await;
    let found = &failed[0];
    assert_eq!(
        (found.id, &*found.problem, found.tries),
        (first, "no such user", 1)
    );
    assert_eq!((found.next_try_at, found.last_try_at), (None, Some(at(0))));
    assert_eq!(contents(&claim(store, at(1), 10, 10).await), []);
    assert_eq!(store.find_mail_queue().await.unwrap().waiting, 1);
}

async fn mail_given_up_is_retried_while_it_is_valid(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    give_up(store, first).await;
    let retried = store.retry_mail(change(first, at(5))).await.unwrap();
    assert!(
        matches!(&retried, RetryOutcome::Due(mail) if mail.state == MailState::Waiting),
        "{retried:?}"
    );
    let again = claim(store, at(5), 10, 10).await;
    assert_eq!(contents(&again), [("c1", "q1@example.com", "de", 2)]);
}

async fn retry_of_a_mail_in_delivery_changes_nothing(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    let retried = store.retry_mail(change(first, at(5))).await.unwrap();
    assert!(
        matches!(&retried, RetryOutcome::Due(mail) if mail.state == MailState::Sending),
        "{retried:?}"
    );
    assert_eq!(contents(&claim(store, at(5), 10, 10).await), []);
}

async fn expired_mail_is_not_retried(store: &dyn Store) {
    let [first, second] = two_claimed(store).await;
    give_up(store, first).await;
    let expired = claim(store, at(600), 10, 10).await.expired;
    assert_eq!(expired.len(), 1, "the first was given up");
    let states: Vec<_> = states(store)
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, [MailState::Expired, MailState::Failed]);
    for id in [first, second] {
        let retried = store.retry_mail(change(id, at(600))).await.unwrap();
        assert_eq!(retried, RetryOutcome::Expired);
    }
}

async fn mail_is_discarded(store: &dyn Store) {
    let [first, second] = two_claimed(store).await;
    assert!(store.discard_mail(change(first, at(5))).await.unwrap());
    assert!(!store.discard_mail(change(first, at(5))).await.unwrap());
    let retried = store.retry_mail(change(first, at(5))).await.unwrap();
    assert_eq!(retried, RetryOutcome::NotFound);
    assert_eq!(entries(store, None).await[0].id, second);
}

async fn changes_of_mails_need_staff(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    give_up(store, first).await;
    for (context, reason) in outsiders(store).await {
        let change = || MailChange {
            context: context.clone(),
            ..change(first, at(5))
        };
        assert_refused(store.retry_mail(change()).await, reason);
        assert_refused(store.discard_mail(change()).await, reason);
    }
    assert_eq!(entries(store, Some(MailState::Failed)).await[0].id, first);
}

async fn entries_are_filtered_and_searched(store: &dyn Store) {
    let first = queue(store, "A_b@example.com", "c1", at(0)).await;
    queue(store, "axb@example.com", "c2", at(0)).await;
    let found = async |query: MailQuery| {
        let page = store.list_mail_entries(query).await.unwrap().unwrap();
        let emails = page.items.into_iter().map(|mail| mail.email);
        emails.collect::<Vec<_>>().join(" ")
    };
    let both = "axb@example.com A_b@example.com";
    for (search, expected) in [
        ("", both),
        ("EXAMPLE", both),
        ("a_B", "A_b@example.com"),
        ("%", ""),
    ] {
        let query = MailQuery {
            search: search.into(),
            ..query(None)
        };
        assert_eq!(found(query).await, expected, "{search}");
    }
    let of_first = MailQuery {
        user_id: Some(first),
        ..query(None)
    };
    assert_eq!(found(of_first).await, "A_b@example.com");
    assert_eq!(found(query(Some(MailState::Waiting))).await, both);
    assert_eq!(found(query(Some(MailState::Expired))).await, "");
}

async fn entries_are_listed_by_page(store: &dyn Store) {
    for number in 0..3 {
        queue(store, &format!("q{number}@example.com"), "c", at(number)).await;
    }
    let page = async |page| {
        let query = MailQuery {
            page,
            page_size: 2,
            ..query(None)
        };
        let page = store.list_mail_entries(query).await.unwrap()?;
        assert_eq!(page.count, 3);
        Some(
            page.items
                .iter()
                .map(|mail| mail.created_at)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(page(PageRequest::Number(1)).await, Some(vec![at(2), at(1)]));
    assert_eq!(page(PageRequest::Last).await, Some(vec![at(0)]));
    assert_eq!(page(PageRequest::Number(3)).await, None);
}

async fn closed_mails_are_deleted_after_a_week(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    give_up(store, first).await;
    let week = Duration::from_hours(7 * 24);
    for (now, left) in [(at(600), 2), (at(0).plus(week), 2), (at(1).plus(week), 1)] {
        store.delete_expired(now, None, None).await.unwrap();
        assert_eq!(entries(store, None).await.len(), left);
    }
    store
        .delete_expired(at(600).plus(week), None, None)
        .await
        .unwrap();
    assert_eq!(entries(store, None).await, []);
}

async fn replaced_code_is_not_mailed(store: &dyn Store) {
    queue(store, "q4@example.com", "c3", at(0)).await;
    let reissue = ReissueOtp {
        email_key: "q4@example.com".into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp("q4@example.com", "c4", at(0)),
            email_change: otp("q4@example.com", "c4", at(0)),
        },
        now: at(0),
        limits: LIMITLESS,
    };
    store.reissue_otp(reissue).await.unwrap().unwrap();
    let claimed = claim(store, at(0), 10, 10).await;
    assert_eq!(contents(&claimed), [("c4", "q4@example.com", "de", 1)]);
}

async fn mail_of_a_used_code_is_deleted(store: &dyn Store) {
    verified(store, "q4@example.com", at(0)).await;
    assert_eq!(contents(&claim(store, at(0), 10, 10).await), []);
    assert!(states(store).await.is_empty());
}

async fn mails_of_a_deleted_account_are_deleted(store: &dyn Store) {
    let id = queue(store, "q5@example.com", "c5", at(0)).await;
    let gone = DeleteUser {
        // The address was never confirmed, so it gets no notice.
        notices: vec![notice("gone")],
        ..deletion(id)
    };
    store.delete_user(gone).await.unwrap();
    assert_eq!(store.find_next_mail().await.unwrap(), None);
}

async fn notice_of_a_deletion_outlives_the_account(store: &dyn Store) {
    let id = verified(store, "q4@example.com", at(0)).await;
    let notice = |content| mail(content, at(0).plus(LEASE));
    let gone = DeleteUser {
        notices: vec![notice("gone"), notice("gone too")],
        ..deletion(id)
    };
    store.delete_user(gone).await.unwrap();
    let claimed = claim(store, at(0), 10, 10).await;
    assert_eq!(contents(&claimed), [("gone", "q4@example.com", "de", 1)]);
    assert_eq!(claimed.mails[0].subject, MailSubject::DeletedUser);
    let claimed = claim(store, at(0).plus(LEASE), 10, 10).await;
    assert_eq!(claimed.expired, [MailSubject::DeletedUser]);
    assert!(
        states(store).await.is_empty(),
        "not even the address is kept"
    );
}

async fn deleted_mails_are_purged(store: &dyn Store) {
    let [first, _] = two_claimed(store).await;
    store.delete_mail(first).await.unwrap();
    store.purge_deleted_mails().await;
    assert_eq!(mail_contents(store).await, ["c2"]);
}
