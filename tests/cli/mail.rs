//! Mail transports of a running server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{Running, code_in, folder, names_in};

/// A mail as a mail server receives it.
#[derive(Debug)]
struct Delivery {
    from: String,
    to: String,
    message: String,
}

/// A local mail server that accepts everything: its URL and what it receives.
fn mail_server() -> (String, Receiver<Delivery>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || {
                let _ = talk(&stream.unwrap(), |delivery| {
                    let _ = sender.send(delivery);
                });
            });
        }
    });
    (url, receiver)
}

/// A minimal session of RFC 5321.
fn talk(stream: &TcpStream, deliver: impl Fn(Delivery)) -> std::io::Result<()> {
    let mut writer = stream;
    let mut reply = |line: &str| writer.write_all(format!("{line}\r\n").as_bytes());
    reply("220 mail.example.com")?;
    let (mut from, mut to) = (String::new(), String::new());
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        let between = |line: &str| line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let verb = line
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match verb.as_str() {
            "MAIL" => {
                from = between(&line);
                reply("250 ok")?;
            }
            "RCPT" => {
                to = between(&line);
                reply("250 ok")?;
            }
            "DATA" => {
                reply("354 go on")?;
                let mut message = String::new();
                while let Some(line) = lines.next().transpose()?.filter(|line| line != ".") {
                    message = message + &line + "\n";
                }
                deliver(Delivery {
                    from: from.clone(),
                    to: to.clone(),
                    message,
                });
                reply("250 taken")?;
            }
            "QUIT" => return reply("221 bye"),
            _ => reply("250 ok")?,
        }
    }
    Ok(())
}

fn next(deliveries: &Receiver<Delivery>) -> Delivery {
    deliveries
        .recv_timeout(Duration::from_mins(1))
        .expect("a mail")
}

#[test]
fn code_is_sent_by_smtp() {
    let dir = folder();
    let (url, deliveries) = mail_server();
    let config =
        format!("[mail]\nsmtp_url = \"{url}\"\nfrom = \"Accounts <accounts@example.org>\"\n");
    std::fs::write(dir.path().join("accounts.toml"), config).unwrap();
    let arguments = [
        "--db",
        "users.db",
        "--config",
        "accounts.toml",
        "--passwords-bcrypt-cost",
        "4",
    ];
    let server = Running::start_with(dir.path(), &arguments);
    server.next_output();
    assert_eq!(server.sign_up("User@Example.com").0, 201);
    let delivery = next(&deliveries);
    assert_eq!(
        (&*delivery.from, &*delivery.to),
        ("accounts@example.org", "User@example.com")
    );
    for text in [
        "From: Accounts <accounts@example.org>",
        "To: User@example.com",
        "Subject: ",
        "Message-ID: ",
        "Date: ",
    ] {
        assert!(
            delivery.message.contains(text),
            "{text} is missing: {}",
            delivery.message
        );
    }
    let body = json!({"email": "user@example.com", "otp": code_in(&delivery.message)});
    assert_eq!(server.post("otp/verify/", &body).0, 200);

    // So does a second one, over the same connection or another.
    assert_eq!(server.sign_up("second@example.com").0, 201);
    assert_eq!(next(&deliveries).to, "second@example.com");
    let outcome = server.terminate();
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(0), ""),
        "nothing is printed: {outcome:?}"
    );
    assert!(!outcome.stderr.contains("WARN"), "{}", outcome.stderr);
}

#[test]
fn unreachable_mail_server_delays_no_request() {
    let dir = folder();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("smtp://{address}");
    let arguments = [
        "--db",
        "users.db",
        "--mail-smtp-url",
        &url,
        "--passwords-bcrypt-cost",
        "4",
        "--server-shutdown-seconds",
        "0",
    ];
    let server = Running::start_with(dir.path(), &arguments);
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let line = server.wait_for_log("mail");
    assert!(
        !line.contains("user@example.com"),
        "addresses in the log are masked: {line}"
    );
    assert_eq!(server.request("GET", "/healthz", None, &json!({})).0, 200);
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn mails_are_written_to_files() {
    let dir = folder();
    let arguments = [
        "--db",
        "users.db",
        "--mail-transport",
        "file",
        "--mail-dir",
        "outbox",
        "--passwords-bcrypt-cost",
        "4",
    ];
    let server = Running::start_with(dir.path(), &arguments);
    server.next_output();
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let outcome = server.terminate();
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(0), ""),
        "{outcome:?}"
    );
    let outbox = dir.path().join("outbox");
    let names = names_in(&outbox);
    assert_eq!(names.len(), 1, "{names:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        // They contain codes.
        let mode = outbox
            .join(&names[0])
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let mail = std::fs::read_to_string(outbox.join(&names[0])).unwrap();
    assert!(mail.contains("To: user@example.com"), "{mail}");
    let server = Running::start(dir.path());
    let body = json!({"email": "user@example.com", "otp": code_in(&mail)});
    assert_eq!(server.post("otp/verify/", &body).0, 200);
}

#[cfg(unix)]
#[test]
fn mails_are_sent_by_a_program() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = folder();
    let program = dir.path().join("my-sendmail");
    // Renames the file at the end, so that no half a mail is read.
    let script = "#!/bin/sh\n{ echo \"$@\"; cat; } > taken.tmp && mv taken.tmp taken\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = [
        "--db",
        "users.db",
        "--mail-transport",
        "sendmail",
        "--mail-sendmail-program",
        "./my-sendmail",
        "--passwords-bcrypt-cost",
        "4",
    ];
    let server = Running::start_with(dir.path(), &arguments);
    assert_eq!(server.sign_up("user@example.com").0, 201);
    assert_eq!(server.terminate().code, Some(0));
    let taken = std::fs::read_to_string(dir.path().join("taken")).unwrap();
    assert!(
        taken.starts_with("-i -f accounts@localhost -- user@example.com\nDate: "),
        "{taken}"
    );
    assert!(!taken.contains('\r'), "{taken}");
    let server = Running::start(dir.path());
    let body = json!({"email": "user@example.com", "otp": code_in(&taken)});
    assert_eq!(server.post("otp/verify/", &body).0, 200);
    drop(server);

    let mut missing = arguments.to_vec();
    missing[5] = "./absent";
    missing.extend(["mail", "test", "user@example.com"]);
    crate::support::run(dir.path(), &missing).assert_refused(1, &["cannot run ./absent"]);
}
