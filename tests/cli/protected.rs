//! No command overwrites a database, its companion files, photos or keys, however the path is spelt.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::client::{Client, picture};
use crate::support::{Outcome, Running, create_user, finish, folder, names_in, program, run};

/// A running server with an account that has a photo, and links to its files.
struct Installation {
    dir: TempDir,
    server: Running,
}

impl Installation {
    fn start() -> Self {
        let dir = folder();
        create_user(dir.path(), "ada@example.com", &[]);
        fs::write(dir.path().join("secret"), "a".repeat(40)).unwrap();
        let secret = ["--tokens-key-encryption-secret-file", "secret"];
        let common = ["--db", "users.db", "--passwords-bcrypt-cost", "4"];
        let server = Running::start_with(dir.path(), &[&common[..], &secret].concat());
        let access = server.sign_in("ada@example.com");
        let client = Client::new(server.address);
        assert_eq!(client.upload(&access, &picture(1)).unwrap().0, 200);
        let at = |name: &str| dir.path().join(name);
        symlink("users.db", at("link.db")).unwrap();
        symlink("users.db-wal", at("link-to-log")).unwrap();
        symlink(".", at("here")).unwrap();
        fs::hard_link(at("users.db"), at("hard.db")).unwrap();
        fs::hard_link(at("users.db-wal"), at("hard-log")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        Self { dir, server }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Paths that lead to files of the installation.
    fn targets(&self) -> Vec<String> {
        let photos = self.path().join("users.db.media/photos");
        let photo = format!("users.db.media/photos/{}", names_in(&photos)[0]);
        let absolute = self.path().join("users.db-wal");
        let names = [
            "users.db",
            "./users.db",
            "folder/../users.db",
            "here/users.db-wal",
            "link.db",
            "hard.db",
            "users.db-wal",
            "users.db-shm",
            "users.db-journal",
            "users.db.lock",
            "USERS.DB-WAL",
            "link-to-log",
            "hard-log",
            "users.db.media/new.tar",
            "secret",
            absolute.to_str().unwrap(),
            &photo,
        ];
        names.map(str::to_owned).to_vec()
    }

    /// All files with a hash of their content, except for those that SQLite changes.
    fn content(&self) -> Vec<(PathBuf, Option<u64>)> {
        let mut folders = vec![self.path().to_path_buf()];
        let mut content = Vec::new();
        while let Some(folder) = folders.pop() {
            for name in names_in(&folder) {
                let path = folder.join(&name);
                if path.is_symlink() {
                    content.push((path, None));
                } else if path.is_dir() {
                    folders.push(path);
                } else {
                    let is_fixed = !name.ends_with("-shm") && !name.contains("log");
                    let is_fixed = is_fixed && !name.ends_with("-wal");
                    let hash = is_fixed.then(|| {
                        let mut hasher = DefaultHasher::new();
                        fs::read(&path).unwrap().hash(&mut hasher);
                        hasher.finish()
                    });
                    content.push((path, hash));
                }
            }
        }
        content.sort();
        content
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let secret = ["--tokens-key-encryption-secret-file", "secret"];
        let common = [&["--db", "users.db"][..], &secret].concat();
        run(self.path(), &[&common[..], arguments].concat())
    }
}

#[test]
fn no_command_writes_to_files_of_a_running_server() {
    let installation = Installation::start();
    let before = installation.content();
    for target in installation.targets() {
        for command in [
            &["backup"][..],
            &["backup", "--force"],
            &["export"],
            &["export", "--with-password-hashes"],
            &["export", "--with-secrets"],
        ] {
            let outcome = installation.run(&[command, &[&target]].concat());
            outcome.assert_refused(1, &["nothing was written", &target]);
        }
    }
    for folder in [
        "users.db.media",
        "here/users.db.media/photos",
        "users.db.media/new",
    ] {
        for command in [
            &["backup", "--force"][..],
            &["man", "--dir"],
            &["mail", "templates"],
            &["mail", "preview"],
        ] {
            let outcome = installation.run(&[command, &[folder]].concat());
            assert_eq!(outcome.code, Some(1), "{command:?} {folder}: {outcome:?}");
            assert!(
                outcome.stderr.contains("nothing was written"),
                "{outcome:?}"
            );
        }
    }
    let file = [
        "--mail-transport",
        "file",
        "--mail-dir",
        "users.db.media/mail",
    ];
    let test = ["mail", "test", "ada@example.com"];
    let outcome = installation.run(&[&file[..], &test].concat());
    outcome.assert_refused(1, &["nothing was written"]);
    // Pages and previews do not follow links to files of the installation.
    let pages = installation.path().join("pages");
    fs::create_dir(&pages).unwrap();
    symlink("../users.db", pages.join("accounts-server.1")).unwrap();
    fs::hard_link(
        installation.path().join("users.db"),
        pages.join("accounts-server-backup.1"),
    )
    .unwrap();
    let outcome = installation.run(&["man", "--dir", "pages"]);
    outcome.assert_refused(1, &["nothing was written"]);
    fs::remove_dir_all(&pages).unwrap();

    assert_eq!(installation.content(), before);
    installation.server.sign_in("ada@example.com");
    let dir = installation.dir;
    installation.server.kill();
    let secret = ["--tokens-key-encryption-secret-file", "secret"];
    let server = Running::start_with(dir.path(), &[&["--db", "users.db"][..], &secret].concat());
    server.sign_in("ada@example.com");
}

#[test]
fn files_of_other_databases_are_protected_too() {
    let installation = Installation::start();
    let before = installation.content();
    let other = folder();
    create_user(other.path(), "bob@example.com", &[]);
    for name in [
        "users.db",
        "users.db-wal",
        "users.db.lock",
        "users.db.media/x",
    ] {
        let target = installation.path().join(name);
        let target = target.to_str().unwrap();
        for command in [&["backup", "--force"][..], &["export"]] {
            let arguments = [&["--db", "users.db"][..], command, &[target]].concat();
            run(other.path(), &arguments).assert_refused(1, &["nothing was written"]);
        }
    }
    // Nor is a database created in one of them.
    for name in [
        "users.db-wal",
        "users.db-shm",
        "users.db-journal",
        "users.db.lock",
    ] {
        let target = installation.path().join(name);
        let arguments = ["--db", target.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let outcome = run(other.path(), &arguments);
        outcome.assert_refused(1, &[name]);
    }
    assert!(!installation.path().join("users.db-journal").exists());
    assert_eq!(installation.content(), before);
    installation.server.sign_in("ada@example.com");
}

#[test]
fn redirected_output_is_not_appended_to_the_database() {
    let installation = Installation::start();
    let before = installation.content();
    for name in ["users.db", "users.db-wal", "hard-log"] {
        for command in ["backup", "export"] {
            let file = fs::OpenOptions::new()
                .append(true)
                .open(installation.path().join(name))
                .unwrap();
            let mut child = program(installation.path(), &["--db", "users.db", command, "-"]);
            let output = child.stdout(file).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
            assert!(stderr.contains("nothing was written"), "{stderr}");
        }
    }
    assert_eq!(installation.content(), before);
    installation.server.sign_in("ada@example.com");
}

#[test]
fn devices_are_written_and_not_replaced() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    for command in ["backup", "export"] {
        let pipe = dir.path().join("pipe");
        let line = format!(
            "mkfifo pipe && ({} --db users.db {command} pipe & cat pipe > copy; wait)",
            env!("CARGO_BIN_EXE_accounts-server")
        );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line]).current_dir(dir.path());
        let outcome = finish(shell, "");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(
            dir.path().join("copy").metadata().unwrap().len() > 0,
            "{command}"
        );
        let is_pipe = std::os::unix::fs::FileTypeExt::is_fifo;
        assert!(is_pipe(&pipe.metadata().unwrap().file_type()));
        fs::remove_file(pipe).unwrap();
    }
}
