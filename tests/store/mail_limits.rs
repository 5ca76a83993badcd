//! Limits on mails, as they are kept in the store.

use crate::support::*;

on_every_engine![
    next_mail_waits_for_the_pause,
    ten_mails_an_hour_are_sent,
    pause_is_that_of_one_purpose,
    pause_is_that_of_one_address,
    one_network_has_a_share,
    share_of_a_network_covers_the_aliases_of_a_mailbox,
    reserve_is_kept_for_known_networks,
    mails_of_the_future_come_from_a_wrong_clock,
    limits_can_be_switched_off,
    counts_outlive_the_account,
];

const ANN: &str = "ann@example.com";

const TEN_AN_HOUR: MailLimits = MailLimits {
    pause: Duration::ZERO,
    per_hour: 10,
};

/// A sign-up that a network asks for, under limits.
fn asked(email: &str, network: [u8; 4], now: Timestamp, limits: MailLimits) -> NewSignUp {
    let code = format!("{network:?} {}", now.unix_millis());
    let requester = ClientNetwork::from(std::net::IpAddr::from(network));
    NewSignUp {
        network: requester.to_string(),
        otp: NewOtp {
            requester: Some(requester),
            mailbox_hash: b"mailbox".to_vec(),
            ..otp(email, &code, now)
        },
        limits,
        ..sign_up(email, "hash", &code, now)
    }
}

async fn ask(
    store: &dyn Store,
    email: &str,
    network: [u8; 4],
    now: Timestamp,
) -> Option<Timestamp> {
    let outcome = store
        .create_sign_up(asked(email, network, now, TEN_AN_HOUR))
        .await
        .unwrap();
    match outcome {
        SignUpOutcome::Created(_) => None,
        SignUpOutcome::Throttled { until } => Some(until),
        SignUpOutcome::EmailTaken => panic!("{email} is taken"),
    }
}

async fn pause(
    store: &dyn Store,
    email: &str,
    purpose: OtpPurpose,
    now: Timestamp,
) -> Option<Timestamp> {
    let address = email.as_bytes();
    store
        .find_mail_pause(address, address, purpose, network(), now, STRICT)
        .await
        .unwrap()
}

/// A sign-up by a command, which no network asks for.
async fn by_command(store: &dyn Store, code: &str, now: Timestamp) -> SignUpOutcome {
    let request = NewSignUp {
        limits: TEN_AN_HOUR,
        ..sign_up(ANN, "hash", code, now)
    };
    store.create_sign_up(request).await.unwrap()
}

async fn next_mail_waits_for_the_pause(store: &dyn Store) {
    assert_eq!(pause(store, ANN, OtpPurpose::SignUp, at(0)).await, None);
    by_command(store, "1", at(0)).await;
    assert_eq!(
        pause(store, ANN, OtpPurpose::SignUp, at(18)).await,
        Some(at(60))
    );
    assert_eq!(pause(store, ANN, OtpPurpose::SignUp, at(60)).await, None);
}

async fn ten_mails_an_hour_are_sent(store: &dyn Store) {
    for number in 0..10 {
        let outcome = by_command(store, &number.to_string(), at(number)).await;
        assert!(matches!(outcome, SignUpOutcome::Created(_)), "{number}");
    }
    for now in [at(10), at(3599)] {
        let outcome = by_command(store, "more", now).await;
        assert_eq!(outcome, SignUpOutcome::Throttled { until: at(3600) });
    }
    created(by_command(store, "next", at(3600)).await);
}

async fn pause_is_that_of_one_purpose(store: &dyn Store) {
    by_command(store, "1", at(0)).await;
    for purpose in [
        OtpPurpose::EmailChange,
        OtpPurpose::PasswordReset,
        OtpPurpose::Reauthentication,
    ] {
        assert_eq!(pause(store, ANN, purpose, at(1)).await, None, "{purpose:?}");
    }
}

async fn pause_is_that_of_one_address(store: &dyn Store) {
    by_command(store, "1", at(0)).await;
    assert_eq!(
        pause(store, "bob@example.com", OtpPurpose::SignUp, at(1)).await,
        None
    );
}

async fn one_network_has_a_share(store: &dyn Store) {
    for second in 0..4 {
        assert_eq!(ask(store, ANN, [198, 51, 100, 1], at(second)).await, None);
    }
    assert_eq!(
        ask(store, ANN, [198, 51, 100, 1], at(4)).await,
        Some(at(3600))
    );
    assert_eq!(
        ask(store, ANN, [192, 0, 2, 1], at(5)).await,
        None,
        "another network"
    );
}

async fn share_of_a_network_covers_the_aliases_of_a_mailbox(store: &dyn Store) {
    for number in 0..4 {
        let alias = format!("ann+{number}@example.com");
        assert_eq!(
            ask(store, &alias, [198, 51, 100, 1], at(number)).await,
            None
        );
    }
    let alias = "ann+more@example.com";
    assert_eq!(
        ask(store, alias, [198, 51, 100, 1], at(4)).await,
        Some(at(3600))
    );
    assert_eq!(ask(store, alias, [192, 0, 2, 1], at(5)).await, None);
}

async fn reserve_is_kept_for_known_networks(store: &dyn Store) {
    let id = account(store, ANN).await;
    let reset = async |network: [u8; 4], second: i64| {
        let requester = ClientNetwork::from(std::net::IpAddr::from(network));
        let now = at(second);
        let request = ResetRequest {
            email_key: ANN.into(),
            otp: NewOtp {
                requester: Some(requester),
                ..otp(ANN, &second.to_string(), now)
            },
            now,
            limits: TEN_AN_HOUR,
            context: RequestContext::default(),
        };
        store
            .create_password_reset(request)
            .await
            .unwrap()
            .is_some()
    };
    let mut owner = sign_in(id, "hash", "s", at(0));
    owner.session.network =
        ClientNetwork::from(std::net::IpAddr::from([203, 0, 113, 7])).to_string();
    begin(store, owner).await;
    let mut second = 1;
    for network in [[198, 51, 100, 1], [192, 0, 2, 1]] {
        for _ in 0..4 {
            assert!(reset(network, second).await);
            second += 1;
        }
    }
    // Eight are sent. Another network gets its one, and no second.
    assert!(reset([100, 64, 0, 1], 20).await);
    assert!(!reset([100, 64, 0, 1], 21).await);
    for second in [22, 23] {
        assert!(reset([203, 0, 113, 7], second).await);
    }
}

async fn mails_of_the_future_come_from_a_wrong_clock(store: &dyn Store) {
    by_command(store, "1", at(7200)).await;
    assert_eq!(pause(store, ANN, OtpPurpose::SignUp, at(0)).await, None);
}

async fn limits_can_be_switched_off(store: &dyn Store) {
    for number in 0..40 {
        let request = asked(ANN, [198, 51, 100, 1], at(number), LIMITLESS);
        created(store.create_sign_up(request).await.unwrap());
    }
}

async fn counts_outlive_the_account(store: &dyn Store) {
    let id = created(by_command(store, "1", at(0)).await);
    store.delete_user(deletion(id)).await.unwrap();
    assert_eq!(
        pause(store, ANN, OtpPurpose::SignUp, at(1)).await,
        Some(at(60))
    );
    let later = at(0).plus(DAY);
    store.delete_expired(later, None, None).await.unwrap();
    assert_eq!(pause(store, ANN, OtpPurpose::SignUp, later).await, None);
}
