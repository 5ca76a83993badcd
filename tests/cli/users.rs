//! `user create`: making accounts beside the server.

use serde_json::json;

use crate::support::{PASSWORD, Running, create_user, folder, names_in, run, run_with_input};

const CREATE: &[&str] = &[
    "--db",
    "users.db",
    "--passwords-bcrypt-cost",
    "4",
    "user",
    "create",
    "--password-stdin",
];

#[test]
fn the_id_is_printed_and_the_account_signs_in() {
    let dir = folder();
    run_with_input(
        dir.path(),
        &[CREATE, &["User@Example.com"]].concat(),
        &format!("{PASSWORD}\n"),
    )
    .assert_done("1\n");
    assert_eq!(create_user(dir.path(), "second@example.com", &[]), 2);
    let server = Running::start(dir.path());
    let access = server.sign_in("user@example.com");
    let (status, profile) = server.api("GET", "users/1/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["email"]),
        (200, &json!("User@example.com"))
    );
    assert_eq!(
        server.api("GET", "users/2/", Some(&access), &json!({})).0,
        403,
        "not staff"
    );
}

#[test]
fn it_works_while_the_server_runs() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("user@example.com").1["data"]["id"], 1);
    let id = create_user(dir.path(), "staff@example.com", &["--staff"]);
    assert_eq!(id, 2);
    let access = server.sign_in("staff@example.com");
    let (status, profile) = server.api("GET", "users/1/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["email"]),
        (200, &json!("user@example.com")),
        "staff sees everyone"
    );
    assert_eq!(
        server.sign_up("third@example.com").1["data"]["id"],
        3,
        "the server goes on writing"
    );
    let (status, answer) = server.sign_up("staff@example.com");
    assert_eq!(
        (status, answer),
        (
            400,
            json!({"email": ["user with this email already exists."]})
        )
    );
}

#[test]
fn a_never_verified_account_gives_way() {
    let dir = folder();
    let server = Running::start(dir.path());
    let body = json!({
        "email": "user@example.com", "password": "password-of-stranger", "confirm_password": "password-of-stranger",
    });
    assert_eq!(server.post("users/", &body).1["data"]["id"], 1);
    let strangers = crate::support::code_in(&server.next_mail());
    let id = create_user(dir.path(), "USER@example.com", &[]);
    let access = server.sign_in("user@example.com");
    assert_eq!(
        server.api("GET", "users/me/", Some(&access), &json!({})).1["id"],
        id
    );
    let (status, _) = server.post(
        "otp/verify/",
        &json!({"email": "user@example.com", "otp": strangers}),
    );
    assert_eq!(status, 400);
    let body = json!({"email": "user@example.com", "password": "password-of-stranger"});
    assert_eq!(server.post("token/", &body).0, 401);
}

#[test]
fn the_password_is_one_line_of_input_as_it_stands() {
    let dir = folder();
    for (n, (input, password)) in [
        ("  blanks around  \n", "  blanks around  "),
        ("no-end-of-line-7", "no-end-of-line-7"),
        ("windows-line-7\r\n", "windows-line-7"),
        ("first-line-7\nsecond-line-7\n", "first-line-7"),
        (
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}-\u{434}\u{43b}\u{44f}-7\n",
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}-\u{434}\u{43b}\u{44f}-7",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{n}@example.com");
        let outcome = run_with_input(dir.path(), &[CREATE, &[email.as_str()]].concat(), input);
        outcome.assert_done(&format!("{}\n", n + 1));
        let server = Running::start(dir.path());
        let (status, answer) =
            server.post("token/", &json!({"email": email, "password": password}));
        assert_eq!(status, 200, "{input:?}: {answer}");
    }
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_made() {
    let dir = folder();
    assert_eq!(create_user(dir.path(), "taken@example.com", &[]), 1);
    let long = "p".repeat(129);
    for (email, password, texts) in [
        (
            "taken@example.com",
            PASSWORD,
            &["email", "user with this email already exists."][..],
        ),
        (
            "TAKEN@example.com",
            PASSWORD,
            &["user with this email already exists."],
        ),
        (
            "nobody",
            PASSWORD,
            &["email", "Enter a valid email address."],
        ),
        ("", PASSWORD, &["email", "This field may not be blank."]),
        (
            "new@example.com",
            "password",
            &["password", "This password is too common."],
        ),
        (
            "new@example.com",
            "12345",
            &[
                "This password is too short. It must contain at least 8 characters.",
                "This password is entirely numeric.",
            ],
        ),
        (
            "somebody@example.com",
            "somebody@example",
            &["The password is too similar to the email."],
        ),
        (
            "new@example.com",
            &long,
            &["Ensure this field has no more than 128 characters."],
        ),
        ("new@example.com", "", &["standard input held no password"]),
        (
            "nobody",
            "12345",
            &[
                "Enter a valid email address.",
                "This password is too short.",
            ],
        ),
    ] {
        let outcome = run_with_input(
            dir.path(),
            &[CREATE, &[email]].concat(),
            &format!("{password}\n"),
        );
        outcome.assert_refused(1, texts);
        assert!(
            password.len() < 6 || password == "password" || !outcome.stderr.contains(password),
            "{outcome:?}"
        );
    }
    assert_eq!(
        create_user(dir.path(), "new@example.com", &[]),
        2,
        "nothing was made on the way"
    );
}

#[test]
fn without_a_terminal_the_password_has_to_be_piped_in() {
    let dir = folder();
    let outcome = run(
        dir.path(),
        &["--db", "users.db", "user", "create", "user@example.com"],
    );
    outcome.assert_refused(1, &["--password-stdin"]);
    assert_eq!(
        names_in(dir.path()),
        Vec::<String>::new(),
        "nothing is made before there is a password"
    );
}

#[test]
fn flags_stand_before_or_after_the_command() {
    let dir = folder();
    for (n, arguments) in [
        &[
            "--db",
            "a.db",
            "user",
            "create",
            "one@example.com",
            "--password-stdin",
            "--passwords-bcrypt-cost",
            "4",
        ][..],
        &[
            "user",
            "create",
            "two@example.com",
            "--password-stdin",
            "--db",
            "a.db",
            "--passwords-bcrypt-cost=4",
        ],
        &[
            "user",
            "--db=a.db",
            "--dev",
            "create",
            "three@example.com",
            "--staff",
            "--password-stdin",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        run_with_input(dir.path(), arguments, PASSWORD).assert_done(&format!("{}\n", n + 1));
    }
}

#[test]
fn ten_at_once_make_ten_accounts() {
    let dir = folder();
    let server = Running::start(dir.path());
    let mut ids: Vec<i64> = std::thread::scope(|scope| {
        let path = dir.path();
        let threads: Vec<_> = (0..10)
            .map(|n| scope.spawn(move || create_user(path, &format!("user{n}@example.com"), &[])))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    ids.sort_unstable();
    assert_eq!(ids, (1..=10).collect::<Vec<i64>>());
    server.sign_in("user7@example.com");
}
