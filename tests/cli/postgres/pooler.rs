//! PgBouncer between the program and the database.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use accounts_server::clock::Stopwatch;
use tempfile::TempDir;

use super::cluster::{Cluster, command, give_to_owner};
use super::proxy::free_port;
use crate::support::{Running, folder, run};

/// A running PgBouncer, which ends on drop.
struct Pooler {
    folder: TempDir,
    port: u16,
}

impl Pooler {
    /// Starts a pooler for a cluster in a mode, `transaction` or `session`, with more settings.
    fn start(cluster: &Cluster, mode: &str, more: &str) -> Self {
        let pooler = Self {
            folder: folder(),
            port: free_port(),
        };
        let (path, port) = (pooler.folder.path(), pooler.port);
        let target = cluster.port;
        let settings = format!(
            "[databases]\n\
             postgres = host=127.0.0.1 port={target} dbname=postgres user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\n{more}\n\
             logfile = {folder}/log\npidfile = {folder}/pid\n",
            folder = path.display()
        );
        let file = path.join("pgbouncer.ini");
        fs::write(&file, settings).unwrap();
        give_to_owner(path);
        give_to_owner(&file);
        let program = Path::new("/usr/sbin/pgbouncer");
        assert!(program.exists(), "PgBouncer is installed");
        let arguments = ["-q", "-d", file.to_str().unwrap()];
        assert!(command(program, &arguments).status().unwrap().success());
        let stopwatch = Stopwatch::start();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(stopwatch.elapsed() < Duration::from_secs(20), "it listens");
            thread::yield_now();
        }
        pooler
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.folder.path().join("pid")).unwrap();
        // It may have ended already.
        let _ = Command::new("kill").arg(pid.trim()).status();
    }
}

#[test]
fn pooler_serves_in_session_mode_alone() {
    let Some(cluster) = Cluster::start("", |_| {}) else {
        return;
    };
    let dir = folder();
    let refused = |pooler: &Pooler, texts: &[&str]| {
        let refused = run(dir.path(), &["--db", &pooler.url(), "user", "list"]);
        refused.assert_refused(1, texts);
        assert!(!refused.stderr.contains("trying for"), "{refused:?}");
    };
    let passing = "ignore_startup_parameters = options";
    let pooler = Pooler::start(&cluster, "transaction", passing);
    // A second program may find what the first one has left on the connection.
    for _ in 0..3 {
        refused(&pooler, &["pooler in transaction mode", "session mode"]);
    }
    let pooler = Pooler::start(&cluster, "session", "");
    refused(&pooler, &["unsupported startup parameter: options"]);

    let more = format!("{passing}\ndefault_pool_size = 30");
    let pooler = Pooler::start(&cluster, "session", &more);
    let server = Running::start_with(dir.path(), &["--db", &pooler.url()]);
    assert_eq!(server.sign_up("ada@example.com").0, 201);
    server.terminate();
}
