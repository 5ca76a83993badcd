//! The applications of an account on its pages: what they see, since when, and how that ends.

use crate::browser::{Browser, assert_leads_to};
use crate::support::TestServer;

/// A client, and what each account allows it.
fn allow(server: &TestServer) {
    server.db_execute(
        "INSERT INTO oauth_clients VALUES ('wiki', 'Wiki <b>', NULL, \
         'https://wiki.example.com/signed-in', '', 'openid profile email', 1, 'RS256', 10, 30, \
         365, 0, 0, 0, 0, 0)",
    );
    server.db_execute(
        "INSERT INTO oauth_grants SELECT id, 'wiki', 'openid email', 1700000000000, \
         1700000000000 FROM users",
    );
}

#[test]
fn applications_are_listed_and_revoked() {
    let server = TestServer::start();
    server.user("alice@example.com");
    server.user("bob@example.com");
    let mut alice = Browser::new(&server);
    alice.sign_in("alice@example.com");
    let connections = "/account/connections/";
    let page = alice.get(connections);
    assert!(page.body.contains("No application uses"), "{}", page.body);
    assert!(!page.body.contains("id=\"identities\""), "no providers");
    allow(&server);
    let page = alice.get(connections);
    let website = "href=\"https://wiki.example.com/\">Wiki &lt;b&gt;</a>";
    for text in [website, "Sees: your email address", "November 14, 2023"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(!page.body.contains("your name"), "{}", page.body);
    assert!(alice.get("/account/").body.contains(website));

    let token = alice.token(connections);
    let revoke = "/account/connections/revoke/";
    let fields = [("form_token", &*token), ("application", "wiki")];
    assert_eq!(alice.post(revoke, &fields[1..]).status, 403, "no token");
    assert_leads_to(&alice.post(revoke, &fields), connections);
    let page = alice.get(connections);
    assert!(page.body.contains("no longer has access"), "{}", page.body);
    // That of somebody else stays. Once more changes nothing.
    assert_eq!(server.db_number("SELECT count(*) FROM oauth_grants"), 1);
    assert_leads_to(&alice.post(revoke, &fields), connections);
}
