//! What webhooks cost: changes of accounts with and without one, and the speed of deliveries.
//!
//! Run with `cargo bench --bench webhooks`. An argument sets the number of changes, 10,000 by default.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the time itself"
)]
#![allow(missing_docs, reason = "a program of its own")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts_server::app::App;
use accounts_server::bootstrap::open_app;
use accounts_server::clock::SystemClock;
use accounts_server::config::Config;
use accounts_server::domain::{
    EmailAddress, EventSelection, OtpCode, OtpPurpose, Profile, UserChanges, UserId, WebhookPayload,
};
use accounts_server::otp_codes::OtpRequest;
use accounts_server::store::{NewSignUp, NewUser, NewWebhook, RequestContext, UserUpdate};
use accounts_server::webhooks::signature::SigningKeys;

#[path = "../tests/support/receiver.rs"]
#[allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "it is a part of the tests"
)]
mod receiver;

use receiver::Receiver;

/// Operations that are under way at once.
const AT_ONCE: u32 = 64;

/// Accounts that are changed in turn, so that no entry of the audit log is shared.
const ACCOUNTS: u32 = 1000;

fn main() {
    // Cargo adds arguments such as --bench.
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(10_000);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(count));
}

async fn measure(count: u32) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::defaults(true);
    config.database.path = dir.path().join("users.db").display().to_string();
    let app = open_app(config, Arc::new(SystemClock), 8000)
        .await
        .expect("an app");
    let app = Arc::new(app);
    let receiver = Receiver::accepting();
    let mut users = Vec::new();
    for number in 0..ACCOUNTS {
        users.push(create_user(&app, number).await);
    }
    let users = Arc::new(users);
    // The first round warms up.
    for round in 0..3 {
        changes(&app, &users, count, round, "without").await;
        sign_ups(&app, count, round, "without").await;
    }
    add_webhook(&app, receiver.url("/")).await;
    for round in 3..5 {
        changes(&app, &users, count, round, "with").await;
        sign_ups(&app, count, round, "with").await;
    }
    let started = Instant::now();
    app.events.start();
    receiver.wait_for(4 * count as usize);
    report("waiting events delivered", 4 * count, started.elapsed());
    app.events.stop(Duration::from_secs(10)).await;
}

/// Runs an operation so often, several at once, and reports the speed.
async fn repeat<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    count: u32,
    operation: impl Fn(u32) -> F,
) {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        if number >= AT_ONCE {
            tasks.join_next().await;
        }
        tasks.spawn(operation(number));
    }
    tasks.join_all().await;
    report(what, count, started.elapsed());
}

async fn changes(app: &Arc<App>, users: &Arc<Vec<UserId>>, count: u32, round: u32, with: &str) {
    let what = format!("profiles changed {with} a webhook");
    repeat(&what, count, |number| {
        let (app, users) = (Arc::clone(app), Arc::clone(users));
        async move {
            let update = UserUpdate {
                user_id: users[(number % ACCOUNTS) as usize],
                changes: UserChanges {
                    first_name: Some(format!("Ann {round} {number}")),
                    ..UserChanges::default()
                },
                email_change: None,
                promotion_notice: None,
                keep_last_staff: true,
                now: app.clock.now(),
                context: RequestContext::default(),
            };
            app.store.update_user(update).await.expect("a change");
        }
    })
    .await;
}

async fn sign_ups(app: &Arc<App>, count: u32, round: u32, with: &str) {
    let what = format!("sign-ups stored {with} a webhook");
    repeat(&what, count, |number| {
        let app = Arc::clone(app);
        async move {
            let address = format!("user{number}@round{round}.example");
            let email = EmailAddress::parse(&address).expect("an address");
            let now = app.clock.now();
            let request = OtpRequest {
                now,
                ip: None,
                network: IpAddr::from([127, 0, 0, 1]).into(),
                requested_at: None,
            };
            let code = OtpCode::from_number(123_456);
            let purpose = OtpPurpose::SignUp;
            let sign_up = NewSignUp {
                password_hash: String::from("none"),
                profile: Profile::default(),
                language: String::new(),
                otp: app
                    .codes
                    .new_otp(&app.outbox, purpose, email.key(), &code, &request),
                email,
                expires_at: now,
                network: String::new(),
                now,
                limits: app.codes.limits(),
                context: RequestContext::default(),
            };
            app.store.create_sign_up(sign_up).await.expect("a sign-up");
        }
    })
    .await;
}

async fn create_user(app: &App, number: u32) -> UserId {
    let email = EmailAddress::parse(&format!("ann{number}@example.com")).expect("an address");
    let user = NewUser {
        email,
        password_hash: String::from("none"),
        profile: Profile::default(),
        is_staff: false,
        now: app.clock.now(),
        context: RequestContext::default(),
    };
    let created = app.store.create_verified_user(user).await;
    created.expect("a user").expect("a new address")
}

async fn add_webhook(app: &App, url: String) {
    let keys = SigningKeys::generate();
    let webhook = NewWebhook {
        url,
        events: EventSelection::parse(["*"]).expect("a selection"),
        description: String::new(),
        payload: WebhookPayload::Full,
        secrets: app.webhooks.seal_secrets(&keys.to_bytes()),
        is_from_file: false,
        notices: Vec::new(),
        now: app.clock.now(),
        context: RequestContext::default(),
    };
    app.store.create_webhook(webhook).await.expect("a webhook");
}

fn report(what: &str, count: u32, time: Duration) {
    let seconds = time.as_secs_f64();
    let each_second = f64::from(count) / seconds;
    println!("{what}: {count} in {seconds:.2} s, {each_second:.0} a second");
}
