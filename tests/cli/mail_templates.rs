//! Custom templates and languages.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::smtp::SmtpSink;
use crate::support::{Outcome, Running, folder, names_in, run};

/// Every mail, by its name in `mail preview`.
const MAILS: [&str; 26] = [
    "account_deleted",
    "address_changed",
    "address_changed_again",
    "address_confirmed",
    "address_removed",
    "address_restored",
    "email_change",
    "factor_added",
    "factor_removed",
    "invitation",
    "new_sign_in",
    "password_changed",
    "password_reset",
    "password_set",
    "promoted",
    "reauthentication",
    "app_removed",
    "passkey_added",
    "passkey_removed",
    "identity_connected",
    "identity_disconnected",
    "recovery_codes_replaced",
    "sign_up",
    "test",
    "webhook_changed",
    "webhook_disabled",
];

const LANGUAGES: [&str; 6] = ["de", "en", "es", "fr", "it", "pt-BR"];

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join("templates").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Starts the server with the templates.
fn serve(dir: &Path) -> Outcome {
    run(
        dir,
        &[
            "--db",
            "users.db",
            "--listen",
            "127.0.0.1:0",
            "--mail-templates-dir",
            "templates",
        ],
    )
}

fn preview(dir: &Path) -> Outcome {
    run(
        dir,
        &["mail", "preview", "--mail-templates-dir", "templates"],
    )
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join("mail-preview").join(name)).unwrap()
}

#[test]
fn preview_shows_every_mail_in_every_language() {
    let dir = folder();
    let outcome = run(dir.path(), &["mail", "preview"]);
    outcome.assert_done("156 emails were written to mail-preview\n");
    let mut expected = Vec::new();
    for mail in MAILS {
        for language in LANGUAGES {
            expected.push(format!("{mail}.{language}.html"));
            expected.push(format!("{mail}.{language}.txt"));
        }
    }
    expected.sort();
    assert_eq!(names_in(&dir.path().join("mail-preview")), expected);
    let german = read(dir.path(), "sign_up.de.txt");
    assert!(
        german.starts_with("Subject: 135790 ist dein Bestätigungscode\n\naccounts-server\n\n"),
        "{german}"
    );
    // Languages differ.
    for mail in MAILS {
        let mut texts: Vec<_> = LANGUAGES
            .iter()
            .map(|language| read(dir.path(), &format!("{mail}.{language}.txt")))
            .collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), LANGUAGES.len(), "{mail}");
    }
}

#[test]
fn exported_templates_work_unchanged() {
    let dir = folder();
    let outcome = run(dir.path(), &["mail", "templates", "templates"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("templates/languages/de.toml\n"));
    assert!(
        outcome
            .stdout
            .ends_with("set [mail] templates_dir = \"templates\"\n"),
        "{outcome:?}"
    );
    let outcome = preview(dir.path());
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let own = read(dir.path(), "address_changed.fr.html");
    fs::remove_dir_all(dir.path().join("templates")).unwrap();
    run(dir.path(), &["mail", "preview"]);
    assert_eq!(own, read(dir.path(), "address_changed.fr.html"));

    // Existing files are not overwritten.
    write(dir.path(), "languages/it.toml", "my own");
    let outcome = run(dir.path(), &["mail", "templates", "templates"]);
    outcome.assert_refused(1, &["templates/languages/it.toml exists already"]);
    assert_eq!(names_in(&dir.path().join("templates")), ["languages"]);
}

#[test]
fn single_file_can_be_overridden() {
    let dir = folder();
    write(
        dir.path(),
        "layout.html",
        "<html lang=\"{{ language }}\" dir=\"{{ direction }}\">{% include \"footer.html\" %}<h1>{{ t.heading }}</h1>\
         {% block body %}{% endblock %}</html>",
    );
    write(
        dir.path(),
        "footer.html",
        "<i>{{ kind }} &amp; {{ t.heading }}</i>",
    );
    write(
        dir.path(),
        "languages/en.toml",
        "[sign_up]\nsubject = \"\"\"\nYour code:\n  {{ code }}\"\"\"\nheading = \"<Hello> & \\\"welcome\\\"\"\n",
    );
    let outcome = preview(dir.path());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("templates/languages/en.toml lacks [account_deleted] fine, "),
        "{outcome:?}"
    );
    // Sentences are escaped, and a subject has one line.
    let html = read(dir.path(), "sign_up.en.html");
    assert!(
        html.starts_with(
            "<html lang=\"en\" dir=\"ltr\"><i>sign_up &amp; &lt;Hello&gt; &amp; &quot;welcome&quot;</i><h1>&lt;Hello&gt;"
        ),
        "{html}"
    );
    assert!(html.contains("Enter this code to confirm that it is yours:"));
    let text = read(dir.path(), "sign_up.en.txt");
    assert!(
        text.starts_with(
            "Subject: Your code: 135790\n\naccounts-server\n\n<Hello> & \"welcome\"\n"
        ),
        "{text}"
    );
    assert!(
        read(dir.path(), "sign_up.de.html").contains("<h1>Bestätige deine E-Mail-Adresse</h1>")
    );
}

#[test]
fn new_language_is_one_file() {
    let dir = folder();
    write(
        dir.path(),
        "languages/ar.toml",
        "direction = \"rtl\"\n[sign_up]\nsubject = \"{{ code }} هو رمز التأكيد\"\nheading = \"أكّد عنوانك\"\n",
    );
    let sink = SmtpSink::start();
    let server = Running::start_with(
        dir.path(),
        &[
            "--db",
            "users.db",
            "--passwords-bcrypt-cost",
            "4",
            "--mail-smtp-url",
            &sink.url(),
            "--mail-templates-dir",
            "templates",
            "--mail-language",
            "ar",
        ],
    );
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let mail = sink.wait_for_mail_to("user@example.com");
    assert!(mail.message.contains("Subject: "), "{mail:?}");
    assert!(mail.message.contains("dir=3D\"rtl\""), "{mail:?}");
    let body = json!({"email": "user@example.com", "otp": mail.code()});
    assert_eq!(server.post("otp/verify/", &body).0, 200);
    assert_eq!(server.terminate().code, Some(0));
}

/// A custom file, its content, and the error.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    // Syntax of a template, of a language file, and of a sentence.
    (
        "code.html",
        "{% extends \"layout.html\" %}\n{% block body %}\n{{ code }\n{% endblock %}\n",
        &["templates/code.html, line 3: syntax error: "],
    ),
    (
        "languages/de.toml",
        "[sign_up]\nsubject = \"{{ code }}\"\nheading = Hallo\n",
        &["templates/languages/de.toml, line 3: "],
    ),
    (
        "languages/de.toml",
        "[sign_up]\n\nsubject = \"{{ code }}\"\nintro = \"{% if minutes %}\"\n",
        &["templates/languages/de.toml, line 4: syntax error: "],
    ),
    (
        "languages/de.toml",
        "[test]\nintro = \"\"\"\nline three\n{{ x. }}\n\"\"\"\n",
        &["templates/languages/de.toml, line 4: syntax error: "],
    ),
    // Undefined values, missing includes, unknown sections and keys.
    (
        "code.txt",
        "{{ code }}\n\n{{ t.headline }}\n",
        &["templates/code.txt, line 3: undefined value"],
    ),
    (
        "notice.txt",
        "{% include \"absent.txt\" %}\n",
        &["templates/notice.txt, line 1: ", "absent.txt"],
    ),
    (
        "languages/fr.toml",
        "[sign_up]\nintro = \"{{ days }}\"\n",
        &["templates/languages/fr.toml, line 2: undefined value"],
    ),
    (
        "languages/de.toml",
        "[sign_upp]\nintro = \"Hallo\"\n",
        &[
            "templates/languages/de.toml, line 2: unknown section [sign_upp]; the sections are [account_deleted], ",
        ],
    ),
    (
        "languages/de.toml",
        "\nlanguage = \"de\"\n",
        &["templates/languages/de.toml, line 2: language: unknown key"],
    ),
    (
        "languages/de.toml",
        "direction = \"down\"\n",
        &["templates/languages/de.toml, line 1: direction: expected \"ltr\" or \"rtl\""],
    ),
    (
        "languages/de.toml",
        "[test]\nsubject = 7\n",
        &["templates/languages/de.toml, line 2: test: subject is not a string"],
    ),
    (
        "languages/my german.toml",
        "",
        &["my german.toml, line 1: the file name is not a language tag such as de or pt-BR"],
    ),
    // Mails without code, link or subject.
    (
        "code.txt",
        "{{ t.heading }}\n",
        &["the mail sign_up in en does not show its code or link in the text part; see code.txt"],
    ),
    (
        "address_changed.html",
        "<p>{{ t.intro }}</p>\n",
        &["the mail address_changed in en does not show its code or link in the HTML part"],
    ),
    (
        "languages/es.toml",
        "[test]\nsubject = \" \"\n",
        &["the mail test in es has no subject", "languages/es.toml"],
    ),
];

#[test]
fn mistakes_are_reported_at_start_with_file_and_line() {
    for (name, text, expected) in MISTAKES {
        let dir = folder();
        write(dir.path(), name, text);
        let outcome = serve(dir.path());
        outcome.assert_refused(1, expected);
        assert!(
            outcome.stderr.contains("accounts-server: [mail]"),
            "{outcome:?}"
        );
        let database = dir.path().join("users.db");
        assert!(!database.exists(), "no database is created");
    }
}

#[test]
fn missing_directory_and_language_are_reported() {
    let dir = folder();
    serve(dir.path()).assert_refused(1, &["[mail]", "templates_dir: cannot read templates: "]);
    let outcome = run(dir.path(), &["mail", "preview", "--mail-language", "tlh"]);
    outcome.assert_refused(
        1,
        &[
            "[mail]",
            "unknown language \"tlh\"; choose one of en, de, es, fr, it, pt-BR",
        ],
    );
}
