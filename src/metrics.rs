//! Counts of what the server has answered, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;

/// Which answers are counted together: the resource, the method if it is a known one, the status.
type Series = (&'static str, &'static str, u16);

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFate {
    /// Somebody else is responsible for it now.
    Delivered,
    /// It is tried again later.
    Postponed,
    /// It was refused for good.
    GivenUp,
    /// It was of no use any more before it could be delivered.
    Expired,
}

impl MailFate {
    const ALL: [Self; 4] = [
        Self::Delivered,
        Self::Postponed,
        Self::GivenUp,
        Self::Expired,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Postponed => "postponed",
            Self::GivenUp => "given_up",
            Self::Expired => "expired",
        }
    }
}

/// The counts since the start of the server. There are as many as there are resources, methods and statuses, whatever
/// clients send.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: Mutex<BTreeMap<Series, u64>>,
    mails: [AtomicU64; MailFate::ALL.len()],
    failed_backups: AtomicU64,
    /// Unix seconds; 0 when there was none since the start.
    last_backup: AtomicU64,
}

impl Metrics {
    /// Counts an answer.
    pub fn count_answer(&self, resource: &'static str, method: &'static str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((resource, method, status)).or_default() += 1;
    }

    /// Counts what became of a mail.
    pub fn count_mail(&self, fate: MailFate) {
        self.mails[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a scheduled backup: when it was made, or that it failed.
    pub fn count_backup(&self, made_at: Option<Timestamp>) {
        match made_at {
            Some(at) => {
                let seconds = at.unix_seconds().max(0).unsigned_abs();
                self.last_backup.store(seconds, Ordering::Relaxed);
            }
            None => {
                self.failed_backups.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// All figures in the text format, version 0.0.4. `queued_mails` is how many mails wait to be delivered.
    pub fn text(&self, queued_mails: u64) -> String {
        let mut text = format!(
            "# HELP accounts_build_info The running program.\n\
             # TYPE accounts_build_info gauge\n\
             accounts_build_info{{version=\"{}\"}} 1\n\
             # HELP accounts_mail_queue_length Mails that wait to be delivered.\n\
             # TYPE accounts_mail_queue_length gauge\n\
             accounts_mail_queue_length {queued_mails}\n\
             # HELP accounts_mails_total What became of mails.\n\
             # TYPE accounts_mails_total counter\n",
            env!("CARGO_PKG_VERSION")
        );
        for fate in MailFate::ALL {
            let count = self.mails[fate as usize].load(Ordering::Relaxed);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "accounts_mails_total{{fate=\"{}\"}} {count}",
                fate.name()
            );
        }
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP accounts_backup_failures_total Scheduled backups that failed.\n\
             # TYPE accounts_backup_failures_total counter\n\
             accounts_backup_failures_total {}\n\
             # HELP accounts_backup_last_success_timestamp_seconds When the last scheduled backup since the start was \
             made, in Unix seconds; 0 for none.\n\
             # TYPE accounts_backup_last_success_timestamp_seconds gauge\n\
             accounts_backup_last_success_timestamp_seconds {}\n",
            self.failed_backups.load(Ordering::Relaxed),
            self.last_backup.load(Ordering::Relaxed)
        );
        text.push_str(
            "# HELP accounts_http_requests_total Requests answered.\n\
             # TYPE accounts_http_requests_total counter\n",
        );
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for ((resource, method, status), count) in answers.iter() {
            let _ = writeln!(
                text,
                "accounts_http_requests_total{{resource=\"{resource}\",method=\"{method}\",status=\"{status}\"}} {count}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_series() {
        let metrics = Metrics::default();
        metrics.count_answer("Health", "GET", 200);
        metrics.count_answer("Health", "GET", 200);
        metrics.count_answer("none", "other", 404);
        metrics.count_mail(MailFate::GivenUp);
        metrics.count_backup(Some(Timestamp::from_unix_millis(1_733_227_200_999)));
        metrics.count_backup(None);
        let text = metrics.text(3);
        for line in [
            "accounts_mails_total{fate=\"given_up\"} 1",
            "accounts_mails_total{fate=\"delivered\"} 0",
            "accounts_mail_queue_length 3",
            "accounts_backup_failures_total 1",
            "accounts_backup_last_success_timestamp_seconds 1733227200",
            "accounts_http_requests_total{resource=\"Health\",method=\"GET\",status=\"200\"} 2",
            "accounts_http_requests_total{resource=\"none\",method=\"other\",status=\"404\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
