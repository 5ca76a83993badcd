//! Webhooks as staff manages them: add, change, rotate, remove, replay, recover.

use std::time::Duration;

use accounts_server::config::{FileWebhook, Secret};
use serde_json::{Value, json};

use crate::contract::{FORBIDDEN, NO_TOKEN, NOT_FOUND};
use crate::support::{Answer, TestServer, User, at_once};

/// A receiver on this machine, which --dev allows. Nothing has to listen there.
const URL: &str = "http://127.0.0.1:9/hooks/T0/secret";

const UNREACHABLE: &str = r#"{"url":["This address is not reachable from here."]}"#;
const FROM_FILE: &str =
    r#"{"detail":"This webhook is set in the configuration file. Change it there."}"#;
const DISABLED: &str = r#"{"detail":"This webhook is disabled. Enable it first."}"#;

/// Every route, with a body that is right.
fn routes(id: &str) -> Vec<(&'static str, String, Value)> {
    let new = json!({"url": URL, "events": ["user.*"]});
    vec![
        ("GET", "webhooks/".into(), Value::Null),
        ("POST", "webhooks/".into(), new),
        ("GET", format!("webhooks/{id}/"), Value::Null),
        (
            "PATCH",
            format!("webhooks/{id}/"),
            json!({"description": "x"}),
        ),
        ("POST", format!("webhooks/{id}/rotate-secret/"), json!({})),
        ("POST", format!("webhooks/{id}/test/"), json!({})),
        (
            "POST",
            format!("webhooks/{id}/recover/"),
            json!({"since": "2024-12-03T12:00:00Z"}),
        ),
        ("GET", format!("webhooks/{id}/deliveries/"), Value::Null),
        (
            "POST",
            format!("webhooks/{id}/deliveries/1/replay/"),
            json!({}),
        ),
        ("DELETE", format!("webhooks/{id}/"), Value::Null),
    ]
}

fn call(server: &TestServer, staff: &User, method: &str, path: &str, body: &Value) -> Answer {
    server.api(method, path, Some(&staff.access), body)
}

fn add(server: &TestServer, staff: &User) -> Value {
    let body = json!({"url": URL, "events": ["user.*"], "description": "CRM"});
    let answer = call(server, staff, "POST", "webhooks/", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

fn deliveries(server: &TestServer, staff: &User, query: &str) -> Vec<Value> {
    let answer = server.get(
        &format!("webhooks/1/deliveries/{query}"),
        Some(&staff.access),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

#[test]
fn added_webhook_shows_its_secret_once() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    server.staff("other@example.com");
    server.user("user@example.com");
    let mut created = add(&server, &staff);
    let secret = created.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(secret.as_str().unwrap().starts_with("whsec_"), "{secret}");
    let public_key = created["public_key"].as_str().unwrap().to_owned();
    assert!(public_key.starts_with("whpk_"), "{public_key}");
    assert_eq!(
        created,
        json!({
            "id": 1, "url": URL, "events": ["user.*"], "description": "CRM", "payload": "full",
            "is_enabled": true, "disabled_at": null, "disabled_reason": null,
            "failing_since": null, "is_from_file": false, "public_key": public_key,
            "previous_secret_until": null,
            "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z",
        })
    );
    let found = server.get("webhooks/1/", Some(&staff.access));
    assert_eq!(found.json(), created);
    let list = server.get("webhooks/", Some(&staff.access)).json();
    assert_eq!(
        list,
        json!({"count": 1, "next": null, "previous": null, "results": [created]})
    );
    let secret = secret.as_str().unwrap().as_bytes().to_vec();
    let stored = server.db_blob("SELECT secrets FROM webhooks");
    assert!(!stored.windows(secret.len()).any(|part| part == secret));
    // All staff is notified, and nobody else. The path of a URL may be a secret.
    for to in ["staff@example.com", "other@example.com"] {
        let mails = server.mails(to);
        assert_eq!(mails.len(), 1, "{to}");
        assert_eq!(mails[0].subject, "A webhook was added");
        for part in ["staff@example.com", "\n127.0.0.1:9\n", "127.0.0.1\n"] {
            assert!(mails[0].text.contains(part), "{}", mails[0].text);
        }
        assert!(!mails[0].text.contains("T0"), "{}", mails[0].text);
    }
    let others = server.mails("user@example.com");
    assert!(others.iter().all(|mail| !mail.subject.contains("webhook")));
    let entry = server.get("events/?kind=webhook_created", Some(&staff.access));
    let entry = &entry.json()["results"][0];
    assert_eq!(
        (&entry["actor_id"], &entry["detail"]),
        (&json!(staff.id), &json!("1"))
    );
}

#[test]
fn wrong_fields_are_named() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let long = "x".repeat(201);
    for (body, expected) in [
        (
            json!({}),
            r#"{"url":["This field is required."],"events":["This field is required."]}"#,
        ),
        (
            json!({"url": null, "events": null, "description": null, "payload": null}),
            r#"{"url":["This field may not be null."],"events":["This field may not be null."],"description":["This field may not be null."],"payload":["This field may not be null."]}"#,
        ),
        (
            json!({"url": " ", "events": [], "payload": "fat"}),
            r#"{"url":["This field may not be blank."],"events":["This selection may not be empty."],"payload":["\"fat\" is not a valid choice."]}"#,
        ),
        (
            json!({"url": ["https://a.example"], "events": "user.*", "payload": ""}),
            r#"{"url":["Not a valid string."],"events":["Expected a list of items but got type \"str\"."],"payload":["\"\" is not a valid choice."]}"#,
        ),
        (
            json!({"url": URL, "events": ["user.born", "user.*", 7], "description": long}),
            r#"{"events":["\"user.born\" is not a valid choice.","\"7\" is not a valid choice."],"description":["Ensure this field has no more than 200 characters."]}"#,
        ),
        (
            json!({"url": "crm.example.com", "events": ["*"]}),
            r#"{"url":["Enter a valid URL."]}"#,
        ),
        (
            json!({"url": "https://user:password@crm.example.com", "events": ["*"]}),
            r#"{"url":["Enter a valid URL."]}"#,
        ),
        (
            json!({"url": "https://10.0.0.1/", "events": ["*"]}),
            UNREACHABLE,
        ),
        (
            json!({"url": "http://192.168.1.1/", "events": ["*"]}),
            UNREACHABLE,
        ),
        (
            json!({"url": "https://[fe80::1]/", "events": ["*"]}),
            UNREACHABLE,
        ),
        (
            json!({"url": "http://8.8.8.8/", "events": ["*"]}),
            UNREACHABLE,
        ),
    ] {
        call(&server, &staff, "POST", "webhooks/", &body).assert(400, expected);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM webhooks"), 0);
    add(&server, &staff);
    for (body, expected) in [
        (json!({"url": "https://10.0.0.1/"}), UNREACHABLE),
        (
            json!({"is_enabled": "maybe"}),
            r#"{"is_enabled":["Must be a valid boolean."]}"#,
        ),
        (
            json!({"events": ["users.*"]}),
            r#"{"events":["\"users.*\" is not a valid choice."]}"#,
        ),
    ] {
        call(&server, &staff, "PATCH", "webhooks/1/", &body).assert(400, expected);
    }
    for (body, expected) in [
        (json!({}), r#"{"since":["This field is required."]}"#),
        (
            json!({"since": null}),
            r#"{"since":["This field may not be null."]}"#,
        ),
        (
            json!({"since": "yesterday"}),
            r#"{"since":["Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."]}"#,
        ),
    ] {
        call(&server, &staff, "POST", "webhooks/1/recover/", &body).assert(400, expected);
    }
    let list = server.get("webhooks/1/deliveries/?status=lost", Some(&staff.access));
    list.assert(400, r#"{"status":["\"lost\" is not a valid choice."]}"#);
    for path in ["webhooks/?page=2", "webhooks/1/deliveries/?page=x"] {
        let page = server.get(path, Some(&staff.access));
        page.assert(404, r#"{"detail":"Invalid page."}"#);
    }
}

#[test]
fn webhooks_are_for_staff_that_authenticated_recently() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    add(&server, &staff);
    for (method, path, body) in routes("1") {
        server.api(method, &path, None, &body).assert(401, NO_TOKEN);
        call(&server, &user, method, &path, &body).assert(403, FORBIDDEN);
    }
    // Not even whether there is one.
    call(&server, &user, "GET", "webhooks/99/", &Value::Null).assert(403, FORBIDDEN);
    server.db_execute("UPDATE users SET is_staff = FALSE WHERE email = 'staff@example.com'");
    for (method, path, body) in routes("1") {
        call(&server, &staff, method, &path, &body).assert(403, FORBIDDEN);
    }
    server.db_execute("UPDATE users SET is_staff = TRUE WHERE email = 'staff@example.com'");
    server.advance(Duration::from_secs(601));
    let staff = staff.with_pair(&server.post("token/refresh/", &json!({"refresh": staff.refresh})));
    for (method, path, body) in routes("1") {
        let answer = call(&server, &staff, method, &path, &body);
        if method == "GET" {
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        } else {
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.body);
            assert_eq!(answer.json()["code"], "reauthentication_required", "{path}");
        }
    }
    assert_eq!(server.db_number("SELECT count(*) FROM webhooks"), 1);
}

#[test]
fn unknown_webhooks_and_deliveries_are_not_found() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    add(&server, &staff);
    add(&server, &staff);
    for id in ["99", "0", "-1", "x", "99999999999999999999"] {
        for (method, path, body) in routes(id).into_iter().skip(2) {
            call(&server, &staff, method, &path, &body).assert(404, NOT_FOUND);
        }
    }
    server.sign_up("ann@example.com");
    let of_second = "SELECT min(id) FROM deliveries WHERE webhook_id = 2";
    let id = server.db_number(of_second);
    let path = |webhook: i64| format!("webhooks/{webhook}/deliveries/{id}/replay/");
    call(&server, &staff, "POST", &path(1), &json!({})).assert(404, NOT_FOUND);
    assert_eq!(
        call(&server, &staff, "POST", &path(2), &json!({})).status,
        202
    );
}

#[test]
fn changes_are_logged_and_mailed_once() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    add(&server, &staff);
    let change = |body: Value| {
        let answer = call(&server, &staff, "PATCH", "webhooks/1/", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    // Nothing happens where nothing changes.
    let same = change(json!({"url": URL, "events": ["user.*"], "is_enabled": true}));
    assert_eq!(same["url"], URL);
    assert_eq!(server.mails("staff@example.com").len(), 1);
    let changed = change(json!({"events": ["*", "*"], "payload": "thin", "description": ""}));
    assert_eq!(
        (
            &changed["events"],
            &changed["payload"],
            &changed["description"]
        ),
        (&json!(["*"]), &json!("thin"), &json!(""))
    );
    assert_eq!(
        server.mails("staff@example.com")[0].subject,
        "A webhook was changed"
    );
    let disabled = change(json!({"is_enabled": false}));
    assert_eq!(disabled["disabled_reason"], "staff");
    assert_eq!(disabled["disabled_at"], "2024-12-03T12:00:00Z");
    for (path, body) in [
        ("webhooks/1/test/", json!({})),
        ("webhooks/1/recover/", json!({"since": "2024-12-03"})),
    ] {
        call(&server, &staff, "POST", path, &body).assert(400, DISABLED);
    }
    server.sign_up("ann@example.com");
    assert!(deliveries(&server, &staff, "").is_empty());
    assert_eq!(
        change(json!({"is_enabled": true}))["disabled_at"],
        Value::Null
    );
    let removed = call(&server, &staff, "DELETE", "webhooks/1/", &Value::Null);
    removed.assert(204, "");
    assert_eq!(
        server.mails("staff@example.com")[0].subject,
        "A webhook was removed"
    );
    let kinds = "events/?kind=webhook_created,webhook_changed,webhook_deleted";
    let entries = server.get(kinds, Some(&staff.access)).json();
    let entries = entries["results"].as_array().unwrap();
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| entry["event"].as_str().unwrap())
        .collect();
    let [changed, created, deleted] = ["webhook_changed", "webhook_created", "webhook_deleted"];
    assert_eq!(entries, [deleted, changed, changed, changed, created]);
    assert_eq!(server.mails("staff@example.com").len(), 5);
}

#[test]
fn rotated_secret_overlaps_with_the_former_one() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let created = add(&server, &staff);
    let rotate = || {
        call(
            &server,
            &staff,
            "POST",
            "webhooks/1/rotate-secret/",
            &json!({}),
        )
    };
    let rotated = rotate().json();
    assert_ne!(rotated["secret"], created["secret"]);
    assert_ne!(rotated["public_key"], created["public_key"]);
    assert_eq!(rotated["previous_secret_until"], "2024-12-04T12:00:00Z");
    assert_eq!(
        server.mails("staff@example.com")[0].subject,
        "The secret of a webhook was replaced"
    );
    // Of several at once each is made, and the last one counts.
    let answers = at_once(4, |_| rotate());
    assert!(answers.iter().all(|answer| answer.status == 200));
    let mut secrets: Vec<String> = answers.iter().map(|answer| answer.text("secret")).collect();
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 4);
    let now = server.get("webhooks/1/", Some(&staff.access)).json();
    assert!(
        answers
            .iter()
            .any(|answer| answer.json()["public_key"] == now["public_key"])
    );
    server.advance(Duration::from_hours(24));
    let staff = server
        .sign_in("staff@example.com", crate::support::PASSWORD)
        .text("access");
    let later = server.get("webhooks/1/", Some(&staff)).json();
    assert_eq!(later["previous_secret_until"], Value::Null);
}

#[test]
fn deliveries_are_listed_tested_replayed_and_recovered() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    add(&server, &staff);
    assert!(deliveries(&server, &staff, "").is_empty());
    server.sign_up("ann@example.com");
    let list = deliveries(&server, &staff, "");
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(
        (
            &list[0]["event"],
            &list[0]["user_id"],
            &list[0]["created_at"]
        ),
        (
            &json!("user.created"),
            &json!(2),
            &json!("2024-12-03T12:00:00Z")
        )
    );
    assert!(!list[0].to_string().contains("ann@example.com"));
    assert!(deliveries(&server, &staff, "?status=delivered").is_empty());
    let test = call(&server, &staff, "POST", "webhooks/1/test/", &json!({}));
    assert_eq!(test.status, 202, "{}", test.body);
    let list = deliveries(&server, &staff, "");
    assert_eq!(
        (&list[0]["event"], &list[0]["id"]),
        (&json!("webhook.test"), &test.json()["id"])
    );
    assert_eq!(list[0]["user_id"], Value::Null);
    let id = &list[1]["id"];
    let replay = format!("webhooks/1/deliveries/{id}/replay/");
    call(&server, &staff, "POST", &replay, &json!({})).assert(202, "");
    server.db_execute("UPDATE deliveries SET closed_at = 1, claimed = FALSE WHERE webhook_id = 1");
    let since = json!({"since": "2024-12-03T12:00:01Z"});
    call(&server, &staff, "POST", "webhooks/1/recover/", &since).assert(202, r#"{"count":0}"#);
    let since = json!({"since": "2024-12-03 12:00"});
    call(&server, &staff, "POST", "webhooks/1/recover/", &since).assert(202, r#"{"count":2}"#);
    let replays = "SELECT count(*) FROM events WHERE event = 'webhook_replayed'";
    assert!(server.db_number(replays) >= 2);
}

fn of_file(name: &str, path: &str, secret: u8) -> FileWebhook {
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::STANDARD.encode([secret; 32]);
    FileWebhook {
        name: name.to_owned(),
        url: format!("http://127.0.0.1:9/{path}"),
        events: vec!["user.*".to_owned()],
        payload: String::new(),
        secret: Secret::new(format!("whsec_{secret}")),
        secret_file: None,
    }
}

#[test]
fn webhooks_of_the_file_follow_the_file_alone() {
    let server = TestServer::start_with(|config| {
        config.webhook_list = vec![of_file("crm", "a", 1), of_file("shop", "b", 2)];
    });
    let staff = server.staff("staff@example.com");
    let list = || {
        let mut list = server.get("webhooks/", Some(&staff.access)).json()["results"].clone();
        for webhook in list.as_array_mut().unwrap() {
            // Nothing listens there, which the server finds out sooner or later.
            webhook["failing_since"] = Value::Null;
        }
        list
    };
    let before = list();
    assert_eq!(before[0]["description"], "crm");
    assert_eq!(before[0]["is_from_file"], true);
    for (method, path, body) in [
        ("PATCH", "webhooks/1/", json!({"description": "x"})),
        ("POST", "webhooks/1/rotate-secret/", json!({})),
        ("DELETE", "webhooks/1/", Value::Null),
    ] {
        call(&server, &staff, method, path, &body).assert(400, FROM_FILE);
    }
    assert_eq!(
        call(&server, &staff, "POST", "webhooks/1/test/", &json!({})).status,
        202
    );
    let waiting = deliveries(&server, &staff, "").len();
    let same = server.reload(|_| {}).unwrap();
    assert!(same.changed.is_empty());
    // What fails at an attempt meanwhile has nothing to do with the file.
    for (now, then) in list()
        .as_array()
        .unwrap()
        .iter()
        .zip(before.as_array().unwrap())
    {
        for key in [
            "id",
            "url",
            "public_key",
            "updated_at",
            "previous_secret_until",
        ] {
            assert_eq!(now[key], then[key], "{key}");
        }
    }
    assert!(server.mails("staff@example.com").is_empty());
    // Another URL keeps the webhook and what waits for it; another secret is a rotation.
    server
        .reload(|config| config.webhook_list = vec![of_file("crm", "c", 3), of_file("new", "d", 4)])
        .unwrap();
    let after = list();
    assert_eq!(after.as_array().unwrap().len(), 2);
    assert_eq!((&after[0]["id"], &after[1]["id"]), (&json!(1), &json!(3)));
    assert_eq!(after[0]["url"], "http://127.0.0.1:9/c");
    assert_eq!(after[0]["previous_secret_until"], "2024-12-04T12:00:00Z");
    assert_eq!(deliveries(&server, &staff, "").len(), waiting);
    let subjects: Vec<String> = server
        .mails("staff@example.com")
        .into_iter()
        .map(|mail| mail.subject)
        .collect();
    assert_eq!(
        subjects,
        [
            "A webhook was added",
            "The secret of a webhook was replaced",
            "A webhook was changed",
            "A webhook was removed",
        ]
    );
}

#[test]
fn wrong_webhooks_of_the_file_stop_a_reload() {
    let server = TestServer::start();
    for (change, expected) in [
        (
            (|webhook: &mut FileWebhook| webhook.url = "crm".to_owned()) as fn(&mut FileWebhook),
            r#"[[webhooks]] "crm": url: it has to begin with https://"#,
        ),
        (
            |webhook| webhook.events = vec!["user.born".to_owned()],
            r#"[[webhooks]] "crm": events: "user.born" is not a type of events"#,
        ),
        (
            |webhook| webhook.payload = "fat".to_owned(),
            r#"[[webhooks]] "crm": payload: expected full or thin, got "fat""#,
        ),
        (
            |webhook| webhook.secret = Secret::new("hunter2".to_owned()),
            r#"[[webhooks]] "crm": secret: expected `whsec_` and 24 to 64 bytes"#,
        ),
        (
            |webhook| webhook.secret_file = Some("/nowhere".into()),
            r#"[[webhooks]] "crm": secret_file: /nowhere"#,
        ),
    ] {
        let mut webhook = of_file("crm", "a", 1);
        change(&mut webhook);
        let error = server
            .reload(|config| config.webhook_list = vec![webhook])
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert_eq!(server.db_number("SELECT count(*) FROM webhooks"), 0);
}

#[test]
fn server_receives_its_own_webhooks_in_development() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let url = format!("{}/dev/webhooks/", server.url());
    let body = json!({"url": url, "events": ["user.created"]});
    assert_eq!(
        call(&server, &staff, "POST", "webhooks/", &body).status,
        201
    );
    server.sign_up("ann@example.com");
    server.wait_for_number("SELECT count(*) FROM deliveries WHERE is_delivered", 1);
    let received = |query: &str| {
        let answer = server.request("GET", &format!("/dev/webhooks/{query}"), &[], "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let events = received("?type=user.created");
    assert_eq!(events[0]["body"]["data"]["email"], "ann@example.com");
    assert_eq!(events[0]["id"], 1);
    assert!(
        events[0]["webhook_id"]
            .as_str()
            .unwrap()
            .starts_with("msg_")
    );
    assert!(
        events[0]["webhook_signature"]
            .as_str()
            .unwrap()
            .contains("v1a,")
    );
    assert_eq!(received("?type=user.deleted"), json!([]));
    let page = server.request("GET", "/dev/webhooks/", &[("accept", "text/html")], "");
    assert!(page.body.contains("ann@example.com"), "{}", page.body);
    // A replay is sent at once, under the same id.
    let replay = format!(
        "webhooks/1/deliveries/{}/replay/",
        deliveries(&server, &staff, "")[0]["id"]
    );
    call(&server, &staff, "POST", &replay, &json!({})).assert(202, "");
    server.wait_for_number("SELECT delivered FROM webhooks", 2);
    let again = received("");
    assert_eq!(again[0]["webhook_id"], again[1]["webhook_id"]);
    let wrong = server.request("POST", "/dev/webhooks/", &[], "{");
    wrong.assert(400, r#"{"detail":"The body is not a JSON object."}"#);
    assert_eq!(server.request("POST", "/dev/reset/", &[], "").status, 204);
    assert_eq!(received(""), json!([]));
    let server = TestServer::start_with(|config| config.dev = false);
    assert_eq!(server.request("GET", "/dev/webhooks/", &[], "").status, 404);
}
