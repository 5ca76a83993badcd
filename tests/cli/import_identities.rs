//! Identities at external providers in `import`, `export` and `user show`.

use serde_json::{Value, json};

use crate::import::{complaints, on_db};
use crate::support::folder;

const EMAIL: &str = "ada@example.com";

fn row(email: &str, identities: &Value) -> String {
    json!({"email": email, "identities": identities}).to_string()
}

fn google(subject: &str) -> Value {
    json!({
        "provider": "google", "issuer": "https://accounts.google.com", "subject": subject,
        "email": "ada@gmail.example", "name": "Ada Lovelace",
        "created_at": "2024-01-02T03:04:05Z", "last_used_at": null,
    })
}

#[test]
fn identities_move_and_are_shown() {
    let (one, other) = (folder(), folder());
    on_db(one.path(), &["import"], &row(EMAIL, &json!([google("1")])))
        .assert_done("imported 1, refused 0\n");
    let exported = on_db(one.path(), &["export"], "").stdout;
    let account: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(account["identities"], json!([google("1")]));
    on_db(other.path(), &["import"], &exported).assert_done("imported 1, refused 0\n");
    assert_eq!(on_db(other.path(), &["export"], "").stdout, exported);
    let shown = on_db(other.path(), &["user", "show", EMAIL], "").stdout;
    assert!(shown.contains("google ada@gmail.example"), "{shown}");
    let shown = on_db(other.path(), &["user", "show", EMAIL, "--json"], "").stdout;
    let account: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(account["identities"], json!([google("1")]));
    // In CSV the list is JSON text.
    let csv = format!(
        "email,identities\nbob@example.com,\"{}\"\neve@example.com,\n",
        json!([google("2")]).to_string().replace('"', "\"\"")
    );
    on_db(other.path(), &["import"], &csv).assert_done("imported 2, refused 0\n");
    let exported = on_db(other.path(), &["export"], "").stdout;
    assert_eq!(exported.matches("\"identities\"").count(), 2, "{exported}");
}

#[test]
fn identities_that_cannot_be_imported_refuse_their_row() {
    let dir = folder();
    let mut unverified: Value =
        serde_json::from_str(&row("eve@example.com", &json!([google("4")]))).unwrap();
    unverified["is_verified"] = json!(false);
    let rows = [
        row(EMAIL, &json!([google("1")])),
        row("bob@example.com", &json!([google("2"), google("1")])),
        row("joe@example.com", &json!([{"provider": "google"}])),
        unverified.to_string(),
    ];
    let outcome = on_db(dir.path(), &["import"], &rows.join("\n"));
    assert_eq!(outcome.stdout, "imported 1, refused 3\n", "{outcome:?}");
    let complaints = complaints(&outcome);
    for (complaint, text) in complaints.iter().zip([
        "line 2: identities: Identity 2: another account has this identity.",
        "line 3: identities: Identity 1: missing field `issuer`",
        "line 4: identities: An account whose address was never confirmed has no identities.",
    ]) {
        assert!(complaint.contains(text), "{complaint}");
    }
}
