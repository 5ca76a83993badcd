//! Counts of what the server has answered, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Which answers are counted together: the resource, the method if it is a known one, the status.
type Series = (&'static str, &'static str, u16);

/// The counts since the start of the server. There are as many as there are resources, methods and statuses, whatever
/// clients send.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: Mutex<BTreeMap<Series, u64>>,
}

impl Metrics {
    /// Counts an answer.
    pub fn count_answer(&self, resource: &'static str, method: &'static str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((resource, method, status)).or_default() += 1;
    }

    /// All figures in the text format, version 0.0.4. `queued_mails` is how many mails wait to be delivered.
    pub fn text(&self, queued_mails: usize) -> String {
        let mut text = format!(
            "# HELP accounts_build_info The running program.\n\
             # TYPE accounts_build_info gauge\n\
             accounts_build_info{{version=\"{}\"}} 1\n\
             # HELP accounts_mail_queue_length Mails that wait to be delivered.\n\
             # TYPE accounts_mail_queue_length gauge\n\
             accounts_mail_queue_length {queued_mails}\n\
             # HELP accounts_http_requests_total Requests answered.\n\
             # TYPE accounts_http_requests_total counter\n",
            env!("CARGO_PKG_VERSION")
        );
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for ((resource, method, status), count) in answers.iter() {
            // Writing to a String cannot fail.
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
        let text = metrics.text(3);
        for line in [
            "accounts_mail_queue_length 3",
            "accounts_http_requests_total{resource=\"Health\",method=\"GET\",status=\"200\"} 2",
            "accounts_http_requests_total{resource=\"none\",method=\"other\",status=\"404\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
