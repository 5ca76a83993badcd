//! Questions at the terminal: passwords, secrets, confirmations.

use std::io::{self, IsTerminal, Write};

use super::CommandResult;

/// Reads a secret: at the terminal without echo, otherwise the first line of standard input.
pub(super) fn read_secret(prompt: &str) -> Result<String, String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt)
            .map_err(|e| format!("cannot read the secret: {e}"));
    }
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|e| format!("cannot read the secret from standard input: {e}"))?;
    Ok(without_mark(&line)
        .trim_end_matches(['\r', '\n'])
        .to_owned())
}

/// Drops a byte order mark, which some editors and shells put before text.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads a password: twice at the terminal without echo, or one line of standard input.
pub(super) fn read_password(from_stdin: bool) -> Result<String, String> {
    if from_stdin {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map_err(|e| format!("cannot read the password from standard input: {e}"))?;
        let line = without_mark(&line);
        let password = line.strip_suffix('\n').unwrap_or(line);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err("standard input has no password".into());
        }
        return Ok(password.to_owned());
    }
    if !io::stdin().is_terminal() {
        return Err(
            "there is no terminal to ask for the password; pipe it in with --password-stdin".into(),
        );
    }
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|e| format!("cannot read the password: {e}"))
    };
    let password = ask("Password: ")?;
    if ask("Password (again): ")? != password {
        return Err("the two passwords differ; nothing was changed".into());
    }
    Ok(password)
}

/// Asks for confirmation at the terminal. Without one, as in a script, nothing is asked.
///
/// # Errors
/// When the answer is not yes.
pub(super) fn confirm(question: &str) -> CommandResult {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let mut prompt = io::stderr();
    let mut answer = String::new();
    write!(prompt, "{question} [y/N] ")
        .and_then(|()| prompt.flush())
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|e| format!("cannot ask: {e}"))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("nothing was changed".into()),
    }
}
