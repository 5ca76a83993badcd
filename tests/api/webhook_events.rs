//! Events of webhooks: what happens to accounts reaches endpoints, whatever the endpoints do.

use std::time::Duration;

use accounts_server::clock::{Clock, Stopwatch};
use accounts_server::domain::{EventSelection, Timestamp, WebhookDisabled, WebhookPayload};
use accounts_server::store::{NewWebhook, ReplayOutcome, RequestContext, Webhook, WebhookChange};
use accounts_server::webhooks::signature::SigningKeys;
use serde_json::{Value, json};

use crate::receiver::{Received, Receiver};
use crate::support::{PASSWORD, START, TestServer, User, sign_up_body};

/// Adds an endpoint as an administrator does. Returns its number.
fn add(server: &TestServer, url: &str, events: &[&str], payload: WebhookPayload) -> i64 {
    server.run(async |app| {
        let webhook = NewWebhook {
            url: url.to_owned(),
            events: EventSelection::parse(events).unwrap(),
            description: String::new(),
            payload,
            secrets: app
                .webhooks
                .seal_secrets(&SigningKeys::generate().to_bytes()),
            is_from_file: false,
            notices: Vec::new(),
            now: Timestamp::from_unix_millis(START),
            context: RequestContext::default(),
        };
        app.store.create_webhook(webhook).await.unwrap().id
    })
}

fn add_to(server: &TestServer, receiver: &Receiver, events: &[&str]) -> i64 {
    add(server, &receiver.url("/hook"), events, WebhookPayload::Full)
}

fn webhook(server: &TestServer, id: i64) -> Webhook {
    server.run(async |app| app.store.find_webhook(id).await.unwrap().unwrap())
}

fn change(webhook_id: i64) -> WebhookChange {
    WebhookChange {
        webhook_id,
        now: Timestamp::from_unix_millis(START),
        context: RequestContext::default(),
    }
}

fn types(received: &[Received]) -> Vec<String> {
    let mut types: Vec<String> = received
        .iter()
        .map(|received| received.json()["type"].as_str().unwrap().to_owned())
        .collect();
    types.sort();
    types
}

fn of_type(received: &[Received], name: &str) -> Value {
    received
        .iter()
        .map(Received::json)
        .find(|body| body["type"] == name)
        .unwrap()
}

fn rename(server: &TestServer, user: &User, name: &str) {
    let answer = server.patch(&user.path(), user, &json!({"first_name": name}));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The number of deliveries of an endpoint that fulfil a condition.
fn wait_for_deliveries(server: &TestServer, id: i64, condition: &str, count: i64) {
    let query = format!("SELECT count(*) FROM deliveries WHERE webhook_id = {id} AND {condition}");
    server.wait_for_number(&query, count);
}

#[test]
fn life_of_an_account_is_a_series_of_events() {
    let server = TestServer::start();
    let receiver = Receiver::accepting();
    let id = add_to(&server, &receiver, &["*"]);
    let user = server.user("ann@example.com");
    rename(&server, &user, "Ann");
    let password = json!({"password": PASSWORD});
    let deleted = server.api("DELETE", &user.path(), Some(&user.access), &password);
    assert_eq!(deleted.status, 204);
    let received = receiver.wait_for(5);
    assert_eq!(
        types(&received),
        [
            "session.created",
            "user.confirmed",
            "user.created",
            "user.deleted",
            "user.updated",
        ]
    );
    let created = of_type(&received, "user.created");
    assert_eq!(created["data"]["email"], "ann@example.com");
    assert_eq!(created["data"]["is_verified"], false);
    assert_eq!(
        of_type(&received, "user.confirmed")["data"]["is_verified"],
        true
    );
    assert_eq!(
        of_type(&received, "user.updated")["data"]["first_name"],
        "Ann"
    );
    let session = &of_type(&received, "session.created")["data"];
    assert_eq!(session["id"], json!(user.id));
    assert_eq!(session["ip"], "127.0.0.1");
    assert_eq!(session["amr"], json!(["otp"]));
    let deleted = of_type(&received, "user.deleted");
    assert_eq!(deleted["data"], json!({"id": user.id}));
    // They may arrive in any order; the sequence tells which was first.
    let sequence = |name: &str| of_type(&received, name)["sequence"].as_i64().unwrap();
    assert!(sequence("user.created") < sequence("user.confirmed"));
    assert!(sequence("user.updated") < sequence("user.deleted"));
    for one in &received {
        assert!(one.header("webhook-id").unwrap().starts_with("msg_"));
        assert!(one.header("webhook-timestamp").is_some());
        assert!(one.header("webhook-signature").unwrap().starts_with("v1,"));
        assert!(one.body.len() < 20_000);
        assert_eq!(one.json().as_object().unwrap().len(), 4);
    }
    wait_for_deliveries(&server, id, "is_delivered AND status_code = 204", 5);
    assert_eq!(
        server.metric(&format!(
            "accounts_webhook_delivered_total{{webhook=\"{id}\"}}"
        )),
        5
    );
    assert_eq!(
        server.metric(&format!(
            "accounts_webhook_queue_length{{webhook=\"{id}\"}}"
        )),
        0
    );
}

#[test]
fn data_of_an_account_is_what_the_api_shows() {
    let server = TestServer::start();
    let receiver = Receiver::accepting();
    let user = server.user("ann@example.com");
    add_to(&server, &receiver, &["user.*"]);
    let thin = Receiver::accepting();
    add(&server, &thin.url("/"), &["user.*"], WebhookPayload::Thin);
    let answer = server.patch(
        &user.path(),
        &user,
        &json!({"country": "DE", "birthday": "1990-01-01", "email": "new@example.com"}),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    // The profile and the pending address are two entries of the audit log.
    let received = receiver.wait_for(2);
    let mut shown = server.get(&user.path(), Some(&user.access)).json();
    let shown = shown.as_object_mut().unwrap();
    let data = received[0].json()["data"].clone();
    let data = data.as_object().unwrap();
    let names: Vec<&String> = data.keys().collect();
    let shown_names: Vec<&String> = shown.keys().collect();
    assert_eq!(names[..shown_names.len()], shown_names[..]);
    assert_eq!(
        names[shown_names.len()..],
        [
            "pending_email",
            "is_verified",
            "is_active",
            "is_staff",
            "external_id"
        ]
    );
    // The API shows the requested address; other services get the confirmed one.
    assert_eq!(data["email"], "ann@example.com");
    assert_eq!(data["pending_email"], "new@example.com");
    shown.remove("email");
    for (name, value) in shown {
        assert_eq!(data[name], *value, "{name}");
    }
    let thin = thin.wait_for(2);
    assert_eq!(thin[0].json()["data"], json!({"id": user.id}));
}

#[test]
fn endpoint_gets_what_it_selects() {
    let server = TestServer::start();
    let receiver = Receiver::accepting();
    add_to(&server, &receiver, &["password.*", "session.ended"]);
    let user = server.user("ann@example.com");
    let changed = server.api(
        "POST",
        "password/change/",
        Some(&user.access),
        &json!({"current_password": PASSWORD, "password": "another-secure-1",
                "confirm_password": "another-secure-1"}),
    );
    assert_eq!(changed.status, 200, "{changed:?}");
    let received = receiver.wait_for(2);
    assert_eq!(types(&received), ["password.changed", "session.ended"]);
    assert_eq!(
        of_type(&received, "password.changed")["data"],
        json!({"id": user.id})
    );
}

#[test]
fn rolled_back_operation_is_no_event() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let receiver = Receiver::accepting();
    let id = add_to(&server, &receiver, &["*"]);
    // The address is taken, the photo is broken, the code is wrong.
    assert_eq!(
        server
            .post("users/", &sign_up_body("ann@example.com"))
            .status,
        400
    );
    let refused = server.patch(&user.path(), &user, &json!({"email": "not an address"}));
    assert_eq!(refused.status, 400);
    let wrong = json!({"email": "ann@example.com", "otp": "000000"});
    assert_eq!(server.post("otp/verify/", &wrong).status, 400);
    rename(&server, &user, "Ann");
    let received = receiver.wait_for(1);
    assert_eq!(types(&received), ["user.updated"]);
    wait_for_deliveries(&server, id, "TRUE", 1);
}

#[test]
fn failed_event_is_tried_again_with_the_same_id() {
    let server = TestServer::start();
    let receiver = Receiver::start(|exchange| {
        let status = match exchange.count {
            1 => "500 Internal Server Error",
            _ => "200 OK",
        };
        exchange.answer(status, "hello");
    });
    let user = server.user("ann@example.com");
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    receiver.wait_for(1);
    wait_for_deliveries(&server, id, "problem <> '' AND NOT claimed", 1);
    assert!(webhook(&server, id).failing_since.is_some());
    server.advance(Duration::from_secs(7));
    let received = receiver.wait_for(2);
    assert_eq!(
        received[0].header("webhook-id"),
        received[1].header("webhook-id")
    );
    assert_eq!(received[0].body, received[1].body);
    assert_ne!(
        received[0].header("webhook-timestamp"),
        received[1].header("webhook-timestamp")
    );
    wait_for_deliveries(
        &server,
        id,
        "is_delivered AND tries = 2 AND length(answer) = 5",
        1,
    );
    assert_eq!(webhook(&server, id).failing_since, None);
}

#[test]
fn deleted_account_leaves_nothing_in_its_events() {
    let server = TestServer::start();
    let receiver = Receiver::start(|exchange| {
        exchange.answer("500 Internal Server Error", "Ann is unknown");
    });
    let user = server.user("ann@example.com");
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    receiver.wait_for(1);
    wait_for_deliveries(&server, id, "length(content) > 0 AND length(answer) > 0", 1);
    let password = json!({"password": PASSWORD});
    assert_eq!(
        server
            .api("DELETE", &user.path(), Some(&user.access), &password)
            .status,
        204
    );
    wait_for_deliveries(&server, id, "length(content) > 0", 0);
    wait_for_deliveries(
        &server,
        id,
        "kind = 'user.updated' AND length(answer) > 0",
        0,
    );
    receiver.wait_for(2);
    wait_for_deliveries(&server, id, "claimed", 0);
    server.advance(Duration::from_secs(10));
    for body in receiver.wait_for(4)[2..].iter().map(Received::json) {
        assert_eq!(body["data"], json!({"id": user.id}), "{body}");
    }
}

#[test]
fn endpoint_that_is_gone_is_disabled() {
    let server = TestServer::start();
    let receiver = Receiver::start(|exchange| exchange.answer("410 Gone", ""));
    server.staff("root@example.com");
    let user = server.user("ann@example.com");
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    receiver.wait_for(1);
    server.wait_for_number(
        "SELECT count(*) FROM webhooks WHERE disabled_reason = 'gone'",
        1,
    );
    wait_for_deliveries(&server, id, "closed_at IS NOT NULL AND NOT is_delivered", 1);
    server.wait_for_number(
        "SELECT count(*) FROM deliveries WHERE webhook_id IS NULL",
        0,
    );
    let mails = server.mails("root@example.com");
    let notice = mails.iter().find(|mail| mail.subject.contains("webhook"));
    // It names the host alone: the path of the URL may be a secret.
    let text = &notice.unwrap().text;
    assert!(text.contains(&receiver.address().to_string()), "{text}");
    assert!(
        !text.contains("http://") && !text.contains("/hook"),
        "{text}"
    );
    // It gets no further events, and nothing is replayed.
    rename(&server, &user, "Anna");
    wait_for_deliveries(&server, id, "TRUE", 1);
    let recovered = server.run(async |app| {
        let since = Timestamp::from_unix_millis(0);
        app.store
            .recover_deliveries(since, change(id))
            .await
            .unwrap()
    });
    assert_eq!(recovered, ReplayOutcome::Disabled);
}

#[test]
fn endpoint_that_fails_for_five_days_is_disabled() {
    let server = TestServer::start();
    let receiver = Receiver::start(|exchange| exchange.answer("500 Internal Server Error", ""));
    let user = server.user("ann@example.com");
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    receiver.wait_for(1);
    wait_for_deliveries(&server, id, "problem <> '' AND NOT claimed", 1);
    server.advance(Duration::from_hours(5 * 24 + 1));
    receiver.wait_for(2);
    server.wait_for_number(
        "SELECT count(*) FROM webhooks WHERE disabled_at IS NOT NULL",
        1,
    );
    let (_, reason) = webhook(&server, id).disabled.unwrap();
    assert_eq!(reason, WebhookDisabled::Failing);
}

#[test]
fn event_is_dead_after_ten_tries_and_can_be_recovered() {
    let server = TestServer::start();
    let receiver = Receiver::start(|exchange| {
        let status = match exchange.count {
            1..=10 => "500 Internal Server Error",
            _ => "200 OK",
        };
        exchange.answer(status, "");
    });
    let user = server.user("ann@example.com");
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    for tries in 1..=10 {
        receiver.wait_for(tries);
        let condition = format!("tries = {tries} AND problem <> '' AND NOT claimed");
        wait_for_deliveries(&server, id, &condition, 1);
        if tries < 10 {
            let wait = server.db_number("SELECT max(next_try_at) FROM deliveries")
                - server.clock.now().unix_millis();
            server.advance(Duration::from_millis(wait.unsigned_abs()));
        }
    }
    wait_for_deliveries(&server, id, "closed_at IS NOT NULL AND NOT is_delivered", 1);
    // After three days, not five.
    assert!(webhook(&server, id).disabled.is_none());
    let recovered = server.run(async |app| {
        let since = Timestamp::from_unix_millis(START);
        app.store
            .recover_deliveries(since, change(id))
            .await
            .unwrap()
    });
    assert_eq!(recovered, ReplayOutcome::Due(1));
    receiver.wait_for(11);
    wait_for_deliveries(&server, id, "is_delivered", 1);
}

#[test]
fn overloaded_endpoint_gets_a_bounded_pause() {
    let server = TestServer::start();
    let receiver = Receiver::start(|exchange| {
        exchange.write(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let user = server.user("ann@example.com");
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    receiver.wait_for(1);
    wait_for_deliveries(&server, id, "problem <> '' AND NOT claimed", 1);
    let hour = START + 60 * 60 * 1000;
    assert_eq!(
        server.db_number("SELECT paused_until FROM webhooks") / 60_000,
        hour / 60_000
    );
    // Other events wait too.
    rename(&server, &user, "Anna");
    server.advance(Duration::from_mins(59));
    wait_for_deliveries(&server, id, "tries = 0", 1);
    assert_eq!(receiver.received().len(), 1);
    server.advance(Duration::from_mins(2));
    receiver.wait_for(2);
}

#[test]
fn misbehaving_endpoints_delay_nobody() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let redirected = Receiver::accepting();
    let elsewhere = redirected.url("/");
    let big = "x".repeat(10 * 1024 * 1024);
    let receivers = [
        Receiver::start(|exchange| {
            exchange.hang();
        }),
        Receiver::start(|exchange| exchange.drip("HTTP/1.1 200 OK\r\n")),
        Receiver::start(move |exchange| exchange.answer("500 Internal Server Error", &big)),
        Receiver::start(|exchange| {
            exchange.close();
        }),
        Receiver::start(move |exchange| {
            exchange.write(format!(
                "HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
            ));
        }),
        Receiver::start(|exchange| {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
            exchange.close();
        }),
    ];
    for receiver in &receivers {
        add_to(&server, receiver, &["user.*"]);
    }
    let good = Receiver::accepting();
    add_to(&server, &good, &["user.*"]);
    rename(&server, &user, "Ann");
    good.wait_for(1);
    for (receiver, connections) in receivers.iter().zip(1..) {
        receiver.wait_for(1);
        assert!(receiver.connections() > 0, "{connections}");
    }
    rename(&server, &user, "Anna");
    good.wait_for(2);
    assert!(redirected.received().is_empty());
}

#[test]
fn endpoints_that_hang_keep_no_slots() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let hanging = Receiver::start(|exchange| {
        exchange.hang();
    });
    // More than the 32 attempts that there are.
    for number in 0..10 {
        let url = hanging.url(&format!("/{number}"));
        add(&server, &url, &["user.*"], WebhookPayload::Full);
    }
    for number in 0..4 {
        rename(&server, &user, &format!("Ann {number}"));
    }
    hanging.wait_for(32);
    let good = Receiver::accepting();
    add_to(&server, &good, &["user.*"]);
    let start = Stopwatch::start();
    rename(&server, &user, "Anna");
    good.wait_for(1);
    // An attempt may last for 15 seconds.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn ten_thousand_events_of_a_dead_endpoint_delay_nobody() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let dead = Receiver::accepting();
    let url = dead.url("/");
    drop(dead);
    let id = add(&server, &url, &["user.*"], WebhookPayload::Full);
    rename(&server, &user, "Ann");
    wait_for_deliveries(&server, id, "problem <> ''", 1);
    server.db_execute(&format!(
        "INSERT INTO deliveries (message_id, webhook_id, subject_id, sequence, kind, content, \
         created_at, expires_at, next_try_at) \
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) \
         SELECT randomblob(16), {id}, {}, n, 'user.updated', x'', {START}, {START}, {START} FROM numbers",
        user.id
    ));
    let good = Receiver::accepting();
    add_to(&server, &good, &["user.*"]);
    for number in 0..20 {
        rename(&server, &user, &format!("Ann {number}"));
    }
    good.wait_for(20);
    // One at a time is tried, and none is lost.
    let tried = server.db_number(&format!(
        "SELECT count(*) FROM deliveries WHERE webhook_id = {id} AND tries > 0"
    ));
    assert!(tried < 100, "{tried}");
    wait_for_deliveries(&server, id, "closed_at IS NULL", 10_021);
}

#[test]
fn waiting_events_survive_a_restart() {
    let mut server = TestServer::start();
    let user = server.user("ann@example.com");
    let receiver = Receiver::start(|exchange| {
        let status = match exchange.count {
            1 => "500 Internal Server Error",
            _ => "200 OK",
        };
        exchange.answer(status, "");
    });
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    receiver.wait_for(1);
    wait_for_deliveries(&server, id, "problem <> '' AND NOT claimed", 1);
    server.restart();
    // As if the server had died during an attempt.
    server.db_execute("UPDATE deliveries SET claimed = TRUE, next_try_at = next_try_at + 300000");
    server.restart();
    receiver.wait_for(2);
    wait_for_deliveries(&server, id, "is_delivered", 1);
}

#[test]
fn closed_events_are_kept_for_thirty_days() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let receiver = Receiver::accepting();
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    wait_for_deliveries(&server, id, "is_delivered", 1);
    server.advance(Duration::from_hours(29 * 24));
    server.clear_expired();
    wait_for_deliveries(&server, id, "TRUE", 1);
    server.advance(Duration::from_hours(2 * 24));
    server.clear_expired();
    wait_for_deliveries(&server, id, "TRUE", 0);
}

#[test]
fn replayed_event_is_delivered_again() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let receiver = Receiver::accepting();
    let id = add_to(&server, &receiver, &["user.*"]);
    rename(&server, &user, "Ann");
    wait_for_deliveries(&server, id, "is_delivered", 1);
    let delivery = server.db_number("SELECT id FROM deliveries WHERE webhook_id IS NOT NULL");
    let replay = |id| {
        server.run(async |app| {
            app.store
                .replay_delivery(delivery, change(id))
                .await
                .unwrap()
        })
    };
    assert_eq!(replay(id + 1), ReplayOutcome::NotFound);
    assert_eq!(replay(id), ReplayOutcome::Due(1));
    let received = receiver.wait_for(2);
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(
        received[0].header("webhook-id"),
        received[1].header("webhook-id")
    );
}
