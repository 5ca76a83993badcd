//! The program over PostgreSQL, where `ACCOUNTS_TEST_POSTGRES` names a database: `run.sh` of
//! tests/postgres starts one. Tests that need another configuration start a cluster of their own.

mod cluster;
mod encryption;
mod moving;
mod outages;
mod pooler;
mod proxy;
mod refusals;
mod start;
mod upgrades;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use crate::support::{PASSWORD, run_with_input};
use crate::test_schema::TestSchema;

/// Creates a verified account in the database of a URL and returns its id.
fn create_user_over(dir: &Path, url: &str, email: &str) -> i64 {
    let arguments = [
        "--db",
        url,
        "--passwords-bcrypt-cost",
        "4",
        "user",
        "create",
        email,
        "--password-stdin",
    ];
    let created = run_with_input(dir, &arguments, &format!("{PASSWORD}\n"));
    assert_eq!(created.code, Some(0), "{created:?}");
    created.stdout.trim_end().parse().unwrap()
}

/// The server of a schema, and the URL that leads to the schema through a proxy on this port.
fn target(schema: &TestSchema, port: u16) -> (SocketAddr, String) {
    let url = schema.url();
    let host = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let target = host.to_socket_addrs().unwrap().next().unwrap();
    (target, url.replacen(host, &format!("127.0.0.1:{port}"), 1))
}
