//! Refusals that the operator has to fix.
//!
//! Many mail servers check sender, HELO name and client only when a recipient is named, so such a refusal
//! looks like one of the recipient. A mail that is wrongly kept waits until it expires; one that is wrongly
//! given up is lost. In doubt it waits.

use super::reply::Reply;

pub(super) const SENDER: &str = "the mail server refuses the sender: set [mail] from to an address \
                                 that it allows, and check the SPF, DKIM and DMARC records of its domain";
const HELLO: &str = "the mail server refuses the name in HELO: set [server] public_url, or add a name to \
                     [mail] smtp_url (smtp://HOST/NAME)";
const RELAY: &str = "the mail server does not relay for this server: set [mail] smtp_user and \
                     smtp_password_file, or allow the address of this server there";
const CLIENT: &str = "the mail server refuses the address of this server: check its reverse DNS name and \
                      block lists, or send through a relay";
pub(super) const SIGN_IN: &str = "the mail server refuses the sign-in: check [mail] smtp_user and \
                                  smtp_password_file";
const ENCRYPT: &str = "the mail server demands encryption: add ?tls=required to [mail] smtp_url";
const COMMAND: &str = "the mail server refuses the commands of this server: ask its operator why";
const POLICY: &str = "the mail server refuses mail by its policy: ask its operator why";

/// Phrases of well-known mail servers and services, in lower case, the first match wins.
const PHRASES: &[(&str, &str)] = &[
    ("starttls", ENCRYPT),
    ("encryption required", ENCRYPT),
    ("authentication", SIGN_IN),
    ("authenticated", SIGN_IN),
    ("not logged in", SIGN_IN),
    ("helo", HELLO),
    ("ehlo", HELLO),
    ("relay", RELAY),
    ("sender", SENDER),
    ("not owned by", SENDER),
    ("from address", SENDER),
    ("send as", SENDER),
    // Amazon SES, while it is in its sandbox.
    ("address is not verified", SENDER),
    ("dmarc", SENDER),
    ("dkim", SENDER),
    ("spf", SENDER),
    ("client host", CLIENT),
    ("reverse dns", CLIENT),
    ("rdns", CLIENT),
    ("ptr record", CLIENT),
    ("hostname", CLIENT),
    ("blocked using", CLIENT),
    ("blocklist", CLIENT),
    ("block list", CLIENT),
    ("blacklist", CLIENT),
    ("reputation", CLIENT),
];

/// What the reply refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The command with the recipient.
    Recipient,
    /// The message.
    Message,
}

/// What the operator has to do, unless the reply concerns only this recipient or message.
pub(super) fn operator_advice(
    reply: &Reply,
    refused: Refused,
    recipient: &str,
) -> Option<&'static str> {
    match (reply.code(), reply.enhanced()) {
        // Sign-in and encryption (RFC 4954, section 6).
        (530 | 534 | 535, _) => return Some(phrase_in(reply, recipient).unwrap_or(SIGN_IN)),
        (538, _) | (_, Some((7, 10 | 11))) => return Some(ENCRYPT),
        (_, Some((7, 8 | 9 | 14))) => return Some(SIGN_IN),
        // The sender's address (RFC 3463, section 3.2), and its authentication (RFC 7372).
        (_, Some((1, 7 | 8) | (7, 20..=24 | 26 | 27 | 60))) => return Some(SENDER),
        // Another status of the recipient's address, or one of its mailbox.
        (_, Some((1 | 2, _))) => return None,
        (_, Some((7, 25))) => return Some(CLIENT),
        _ => {}
    }
    if let Some(advice) = phrase_in(reply, recipient) {
        return Some(advice);
    }
    let is_about_recipient = text_of(reply, recipient).contains("recipient");
    match (reply.code(), reply.enhanced()) {
        // Temporary replies are retried anyway, and greylisting is not a mistake: only a phrase counts.
        _ if reply.class() != 5 || is_about_recipient => None,
        // Bad commands, and the state of the mail system.
        (_, Some((5, detail))) if detail != 3 => Some(COMMAND),
        (_, Some((3, _))) => Some(POLICY),
        (500 | 502..=504, None) => Some(COMMAND),
        // A policy that names neither recipient nor message.
        (_, Some((7, _))) if refused == Refused::Recipient => Some(POLICY),
        _ => None,
    }
}

fn phrase_in(reply: &Reply, recipient: &str) -> Option<&'static str> {
    let text = text_of(reply, recipient);
    if text.contains("recipient address rejected") {
        return None;
    }
    PHRASES
        .iter()
        .find(|(phrase, _)| text.contains(phrase))
        .map(|(_, advice)| *advice)
}

/// The text in lower case, without the recipient's address, which may contain any phrase.
fn text_of(reply: &Reply, recipient: &str) -> String {
    let text = reply.lines().join(" ").to_lowercase();
    match recipient {
        "" => text,
        recipient => text.replace(&recipient.to_lowercase(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(reply: &str, refused: Refused) -> Option<&'static str> {
        let (code, text) = reply.split_at(3);
        let reply = Reply::new(code.parse().unwrap(), vec![text.trim().to_owned()]);
        operator_advice(&reply, refused, "helo.sender@example.com")
    }

    #[test]
    fn refusals_for_the_operator_are_recognised() {
        for (reply, expected) in [
            // Postfix.
            (
                "553 5.7.1 <accounts@example.org>: Sender address rejected: not owned by user joe",
                SENDER,
            ),
            (
                "550 5.1.8 <a@example.org>: Sender address rejected: Domain not found",
                SENDER,
            ),
            (
                "504 5.5.2 <myhost>: Helo command rejected: need fully-qualified hostname",
                HELLO,
            ),
            (
                "450 4.7.1 <myhost>: Helo command rejected: Host not found",
                HELLO,
            ),
            (
                "554 5.7.1 <helo.sender@example.com>: Relay access denied",
                RELAY,
            ),
            (
                "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
                CLIENT,
            ),
            (
                "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
                CLIENT,
            ),
            ("530 5.7.0 Must issue a STARTTLS command first", ENCRYPT),
            ("530 5.7.0 Authentication required", SIGN_IN),
            // Exim.
            ("550 relay not permitted", RELAY),
            ("550 Sender verify failed", SENDER),
            ("550 HELO should be a FQDN", HELLO),
            // Exchange.
            (
                "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
                RELAY,
            ),
            (
                "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
                SENDER,
            ),
            ("530 5.7.57 Client not authenticated to send mail.", SIGN_IN),
            // Services.
            (
                "550 5.7.26 Unauthenticated email from example.org is not accepted",
                SENDER,
            ),
            (
                "554 Message rejected: Email address is not verified.",
                SENDER,
            ),
            (
                "550 The from address does not match a verified Sender Identity.",
                SENDER,
            ),
            (
                "550 5.7.1 [192.0.2.1] blocked using zen.spamhaus.org",
                CLIENT,
            ),
            // Without a phrase.
            ("503 5.5.1 bad sequence", COMMAND),
            ("502 unknown command", COMMAND),
            ("550 5.7.1 Access denied", POLICY),
            ("554 5.3.2 system not accepting messages", POLICY),
        ] {
            assert_eq!(advice(reply, Refused::Recipient), Some(expected), "{reply}");
        }
        for (reply, expected) in [
            (
                "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
                SENDER,
            ),
            (
                "554 Message rejected: Email address is not verified.",
                SENDER,
            ),
            ("550 5.7.26 does not meet the DMARC policy", SENDER),
        ] {
            assert_eq!(advice(reply, Refused::Message), Some(expected), "{reply}");
        }
    }

    #[test]
    fn refusals_of_one_recipient_or_message_are_not_for_the_operator() {
        for reply in [
            "550 5.1.1 <helo.sender@example.com>: Recipient address rejected: User unknown",
            "550 5.1.1 no such user",
            "550 no such user here",
            "550 5.2.1 mailbox disabled",
            "552 5.2.2 mailbox full",
            "501 5.1.3 bad address syntax",
            "501 bad address",
            "553 mailbox name not allowed",
            "556 5.1.10 recipient domain has null MX",
            "554 5.7.1 <helo.sender@example.com>: Recipient address rejected: Access denied",
            "550 5.4.1 Recipient address rejected: Access denied",
            "550 5.7.1 this recipient accepts no mail",
            "550 <helo.sender@example.com> unknown",
            "450 4.2.0 greylisted, come back later",
            "451 4.7.1 try again later",
            "452 4.5.3 too many recipients",
        ] {
            assert_eq!(advice(reply, Refused::Recipient), None, "{reply}");
        }
        for reply in [
            "554 5.7.1 looks bad",
            "550 5.6.0 bad content",
            "554 rejected as spam",
        ] {
            assert_eq!(advice(reply, Refused::Message), None, "{reply}");
        }
    }
}
