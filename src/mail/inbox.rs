//! The development inbox: the newest mails, in memory.
//!
//! Owns the JSON form of a mail. Whether there is an inbox and who may read it is decided elsewhere: it
//! holds codes in plain text and belongs to development only.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

use super::Mail;
use crate::domain::{EmailAddress, Timestamp};

/// Most mails that are kept; the oldest one is evicted.
const CAPACITY: usize = 1_000;

/// A mail of the inbox, in the key order of its JSON form. It has no `Debug`: it contains the code.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InboxEntry {
    /// Counts from 1 in the order of arrival.
    pub id: u64,
    /// The recipient's address.
    pub to: String,
    /// The sender, `a@b` or `Name <a@b>`.
    pub from: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text part, with LF line ends.
    pub text: String,
    /// The HTML part, with LF line ends.
    pub html: String,
    /// The one-time password, if any.
    pub otp: Option<String>,
    /// The link, if any.
    pub link: Option<String>,
    /// When the mail was composed.
    pub created_at: Timestamp,
}

/// The newest 1,000 mails, shared by all clones.
#[derive(Clone, Default)]
pub struct Inbox {
    ring: Arc<Mutex<Ring>>,
}

#[derive(Default)]
struct Ring {
    last_id: u64,
    /// Oldest first.
    entries: VecDeque<Kept>,
    /// The message ids of the entries.
    known: HashSet<String>,
}

struct Kept {
    message_id: String,
    /// The recipient in lower case.
    to_key: String,
    entry: InboxEntry,
}

impl Inbox {
    /// Adds a mail unless it is there already; evicts the oldest one when the inbox is full.
    pub fn add(&self, mail: &Mail) {
        let mut ring = self.lock();
        if !ring.known.insert(mail.id.clone()) {
            return;
        }
        ring.last_id += 1;
        let entry = InboxEntry {
            id: ring.last_id,
            to: mail.to.as_str().to_owned(),
            from: mail.from.clone(),
            subject: mail.subject.clone(),
            text: mail.text.clone(),
            html: mail.html.clone(),
            otp: mail.otp.clone(),
            link: mail.link.clone(),
            created_at: mail.created_at,
        };
        if ring.entries.len() == CAPACITY
            && let Some(oldest) = ring.entries.pop_front()
        {
            ring.known.remove(&oldest.message_id);
        }
        ring.entries.push_back(Kept {
            message_id: mail.id.clone(),
            to_key: mail.to.key().to_owned(),
            entry,
        });
    }

    /// Lists the mails, newest first; with `to` only those to that address, ignoring case.
    pub fn list(&self, to: Option<&str>) -> Vec<InboxEntry> {
        let to = to.map(str::trim).map(|to| {
            EmailAddress::parse(to)
                .map_or_else(|_| to.to_ascii_lowercase(), |to| to.key().to_owned())
        });
        self.lock()
            .entries
            .iter()
            .rev()
            .filter(|kept| to.as_ref().is_none_or(|to| *to == kept.to_key))
            .map(|kept| kept.entry.clone())
            .collect()
    }

    /// Removes all mails and restarts the ids at 1. A removed mail is not added again when its delivery ends
    /// later.
    pub fn clear(&self) {
        let mut ring = self.lock();
        let entries = std::mem::take(&mut ring.entries);
        ring.known = entries.into_iter().map(|kept| kept.message_id).collect();
        ring.last_id = 0;
    }

    /// No operation leaves the ring half changed, so a poisoned lock is harmless.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("mails", &self.lock().entries.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{mail_to, mail_with_id};
    use super::*;

    fn ids(entries: &[InboxEntry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    fn numbered(id: usize, to: &str) -> Mail {
        mail_with_id(to, (id as u128).to_le_bytes())
    }

    #[test]
    fn mails_are_newest_first_and_filtered_ignoring_case() {
        let inbox = Inbox::default();
        assert!(inbox.list(None).is_empty());
        for (id, to) in ["Ann@example.com", "bob@example.com", "ann@example.com"]
            .into_iter()
            .enumerate()
        {
            inbox.clone().add(&numbered(id, to));
            inbox.add(&numbered(id, to));
        }
        assert_eq!(ids(&inbox.list(None)), [3, 2, 1]);
        assert_eq!(ids(&inbox.list(Some(" ANN@Example.com"))), [3, 1]);
        assert_eq!(ids(&inbox.list(Some("bob@example.com"))), [2]);
        assert!(inbox.list(Some("ob@example.com")).is_empty());
        assert!(inbox.list(Some("")).is_empty());
        assert!(inbox.list(Some("Ann@example.com"))[1].to == "Ann@example.com");
    }

    #[test]
    fn oldest_mail_is_evicted() {
        let inbox = Inbox::default();
        for id in 0..CAPACITY + 2 {
            inbox.add(&numbered(id, "ann@example.com"));
        }
        let all = ids(&inbox.list(None));
        assert_eq!(all.len(), CAPACITY);
        assert_eq!((all[0], all[CAPACITY - 1]), (1_002, 3));
    }

    #[test]
    fn json_has_the_documented_keys_in_order() {
        let inbox = Inbox::default();
        inbox.add(&mail_to("ann@example.com"));
        let json = serde_json::to_string(&inbox.list(None)[0]).unwrap();
        let mut rest = json.as_str();
        for key in [
            "{\"id\":1,",
            "\"to\":\"ann@example.com\",",
            "\"from\":",
            "\"subject\":",
            "\"text\":",
            "\"html\":",
            "\"otp\":\"123456\",",
            "\"link\":null,",
            "\"created_at\":\"2024-12-03T12:00:00Z\"}",
        ] {
            let (_, after) = rest.split_once(key).expect(key);
            rest = after;
        }
        assert_eq!(rest, "");
    }
}
