//! A PostgreSQL cluster of a test, in a folder of its own, which ends with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres::{Client, NoTls};
use tempfile::TempDir;

use super::proxy::free_port;

/// Settings for a small cluster that does not have to survive.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nfsync = off\nfull_page_writes = off\n\
                        shared_buffers = 16MB\nmax_connections = 50\nmax_locks_per_transaction = 256\n";

/// The superuser needs no password, others do.
const ACCESS: &str = "local all all trust\nhost all postgres 127.0.0.1/32 trust\n\
                      host replication postgres 127.0.0.1/32 trust\n\
                      host all all 127.0.0.1/32 scram-sha-256\n";

/// A running cluster.
pub(super) struct Cluster {
    folder: TempDir,
    pub(super) port: u16,
}

impl Cluster {
    /// A new cluster with more lines in `postgresql.conf`, whose `$folder` is the folder of the cluster,
    /// where `prepare` may put files. `None` unless `ACCOUNTS_TEST_POSTGRES` is set.
    pub(super) fn start(settings: &str, prepare: impl FnOnce(&Path)) -> Option<Self> {
        std::env::var_os("ACCOUNTS_TEST_POSTGRES")?;
        let cluster = Self::new();
        let data = cluster.data();
        let initdb = [
            "--no-sync",
            "--no-instructions",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ];
        as_owner(&program("initdb"), &[&initdb[..], &[&data]].concat());
        prepare(cluster.folder.path());
        fs::write(format!("{data}/pg_hba.conf"), ACCESS).unwrap();
        let folder = cluster.folder.path().to_str().unwrap();
        cluster.configure(&settings.replace("$folder", folder));
        Some(cluster.run())
    }

    /// A standby that follows this cluster and takes no writes.
    pub(super) fn standby(&self) -> Self {
        let standby = Self::new();
        let (port, data) = (self.port.to_string(), standby.data());
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let copy = ["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D", &data];
        as_owner(&program("pg_basebackup"), &[&from[..], &copy].concat());
        standby.configure("");
        standby.run()
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        give_to_owner(folder.path());
        Self {
            folder,
            port: free_port(),
        }
    }

    fn data(&self) -> String {
        self.folder.path().join("data").to_str().unwrap().to_owned()
    }

    fn configure(&self, more: &str) {
        let (folder, port) = (self.folder.path().display(), self.port);
        let path = format!("{}/postgresql.auto.conf", self.data());
        let former = fs::read_to_string(&path).unwrap();
        let own = format!("port = {port}\nunix_socket_directories = '{folder}'\n");
        fs::write(&path, [&former, SETTINGS, &own, more].concat()).unwrap();
    }

    fn run(self) -> Self {
        let log = self.folder.path().join("log");
        let (data, log) = (self.data(), log.to_str().unwrap().to_owned());
        as_owner(
            &program("pg_ctl"),
            &["-D", &data, "-l", &log, "-w", "start"],
        );
        self
    }

    /// Runs statements one by one, as the superuser.
    pub(super) fn execute(&self, database: &str, statements: &[&str]) {
        let url = self.url("postgres", database);
        let mut client = Client::connect(&url, NoTls).unwrap();
        for statement in statements {
            client.batch_execute(statement).unwrap();
        }
    }

    /// The number that a query gives, asked as the superuser.
    pub(super) fn count(&self, query: &str) -> i64 {
        let url = self.url("postgres", "postgres");
        let mut client = Client::connect(&url, NoTls).unwrap();
        client.query_one(query, &[]).unwrap().get(0)
    }

    /// The URL of a database for a user, who may have a password behind a colon.
    pub(super) fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        let stop = ["-D", &data, "-m", "immediate", "-w", "stop"];
        // It may not have started.
        let _ = command(&program("pg_ctl"), &stop).output();
    }
}

/// A program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let programs = versions.map(|version| version.unwrap().path().join("bin").join(name));
    let newest = programs.filter(|program| program.exists()).max();
    newest.expect("PostgreSQL is installed")
}

/// A command by the user that PostgreSQL runs as: it refuses to run as root.
pub(super) fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir("/");
    command
}

/// Runs a command to its end.
#[track_caller]
fn as_owner(program: &Path, arguments: &[&str]) {
    // A server that a command starts keeps the outputs, so they are not read.
    let status = command(program, arguments)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{} {arguments:?}", program.display());
}

/// Gives a file or folder to the user that PostgreSQL runs as.
#[track_caller]
pub(super) fn give_to_owner(path: &Path) {
    if is_root() {
        let status = Command::new("chown").arg("postgres").arg(path).status();
        assert!(status.unwrap().success(), "{}", path.display());
    }
}

fn is_root() -> bool {
    let owner = fs::metadata("/proc/self").unwrap();
    std::os::unix::fs::MetadataExt::uid(&owner) == 0
}
