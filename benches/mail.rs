//! Delivery speed of mails, from the queue in a database file over SMTP to a local mail server.
//!
//! Run with `cargo bench --bench mail`. An argument sets the number of mails, 5,000 by default.

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
use accounts_server::config::{Config, MailTransportKind, Secret};
use accounts_server::domain::{EmailAddress, OtpCode, OtpPurpose, Profile};
use accounts_server::otp_codes::OtpRequest;
use accounts_server::store::{NewSignUp, RequestContext};

#[path = "../tests/support/smtp.rs"]
#[allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "it is a part of the tests"
)]
mod smtp;

use smtp::SmtpSink;

/// Mails sent one at a time, to measure the latency of one.
const SINGLE: u32 = 200;

fn main() {
    // Cargo adds arguments such as --bench.
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(5_000);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(count));
}

async fn measure(count: u32) {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = SmtpSink::start();
    let mut config = Config::defaults(false);
    config.database.path = dir.path().join("users.db").display().to_string();
    config.mail.transport = Some(MailTransportKind::Smtp);
    config.mail.smtp_url = Secret::new(sink.url());
    let app = open_app(config, Arc::new(SystemClock), 8000)
        .await
        .expect("an app");

    let started = Instant::now();
    for number in 0..count {
        queue(&app, number).await;
    }
    report(
        "mails put into the queue, one transaction each",
        count,
        started.elapsed(),
    );

    let started = Instant::now();
    app.outbox.start();
    sink.wait_for(count as usize);
    report("waiting mails delivered", count, started.elapsed());

    let mut times = Vec::with_capacity(SINGLE as usize);
    for number in count..count + SINGLE {
        let started = Instant::now();
        queue(&app, number).await;
        app.outbox.wake().await;
        sink.wait_for(number as usize + 1);
        times.push(started.elapsed());
    }
    times.sort();
    println!(
        "from the sign-up to the mail server, one at a time: median {:.2} ms, 99 of 100 within {:.2} ms",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() * 99 / 100].as_secs_f64() * 1e3,
    );
    app.outbox.stop(Duration::from_secs(10)).await;
    assert_eq!(
        sink.mails().len(),
        (count + SINGLE) as usize,
        "each mail once"
    );
}

/// Stores a sign-up with its mail.
async fn queue(app: &App, number: u32) {
    let email = EmailAddress::parse(&format!("user{number}@example.com")).expect("an address");
    let now = app.clock.now();
    let code = OtpCode::from_number(123_456);
    let request = OtpRequest {
        now,
        ip: None,
        network: IpAddr::from([127, 0, 0, 1]).into(),
        requested_at: None,
    };
    let sign_up = NewSignUp {
        password_hash: String::from("none"),
        profile: Profile::default(),
        language: String::from("de"),
        otp: app.codes.new_otp(
            &app.outbox,
            OtpPurpose::SignUp,
            email.key(),
            &code,
            &request,
        ),
        email,
        expires_at: now,
        network: String::new(),
        now,
        limits: app.codes.limits(),
        context: RequestContext::default(),
    };
    app.store.create_sign_up(sign_up).await.expect("a sign-up");
}

fn report(what: &str, count: u32, time: Duration) {
    let seconds = time.as_secs_f64();
    let each_second = f64::from(count) / seconds;
    println!("{what}: {count} in {seconds:.2} s, {each_second:.0} a second");
}
