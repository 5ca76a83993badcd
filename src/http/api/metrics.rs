//! `/metrics`: the metrics page for Prometheus.

use http::StatusCode;

use crate::app::SharedApp;
use crate::domain::Timestamp;
use crate::http::error::ApiError;
use crate::http::operation::{Operation, Outcome, Refusal, Tag};
use crate::http::reply;
use crate::http::route::HandlerResult;
use crate::limits::Ceiling;
use crate::observability::metrics::{CeilingMetrics, Gauges, MailMetrics, WebhookMetrics};
use crate::store::WebhookCounts;

/// `GET /metrics`
pub(crate) const RETRIEVE: Operation = Operation {
    id: "retrieveMetrics",
    tag: Tag::Service,
    summary: "Metrics",
    description: "Metrics in the text format of Prometheus, for programs on the same machine, or \
                  on `[metrics] listen`.",
    answers: &[Outcome::text(200, "the metrics", "text/plain")],
    refusals: &[Refusal {
        when: "the client is on another machine, or a proxy forwarded the request",
        error: || ApiError::NotFound,
    }],
    ..Operation::NEW
};

fn ceiling_metrics(app: &SharedApp, ceiling: Ceiling) -> CeilingMetrics {
    let (events, limit) = app.limits.events(ceiling, app.clock.now());
    CeilingMetrics {
        name: ceiling.as_str(),
        events,
        limit,
    }
}

fn webhook_metrics(counts: &WebhookCounts, now: Timestamp) -> WebhookMetrics {
    WebhookMetrics {
        id: counts.id,
        waiting: counts.waiting,
        oldest: counts.oldest_at.map(|at| now.since(at)).unwrap_or_default(),
        delivered: counts.delivered,
        failed: counts.failed,
        dead: counts.dead,
    }
}

/// `GET /metrics`. `labels` are those of the paths, by their numbers.
pub(crate) async fn retrieve(app: &SharedApp, labels: &[String]) -> HandlerResult {
    // While the database does not answer, the other metrics matter all the more.
    let queue = app.store.find_mail_queue().await;
    let now = app.clock.now();
    let mails = queue
        .inspect_err(|e| log::warn!("the metrics are without those of mails: {e}"))
        .map(|queue| MailMetrics {
            queued: queue.waiting,
            oldest: queue.oldest_at.map(|at| now.since(at)).unwrap_or_default(),
        });
    let webhooks = app.store.count_webhook_deliveries().await;
    let webhooks = webhooks
        .inspect_err(|e| log::warn!("the metrics are without those of webhooks: {e}"))
        .unwrap_or_default();
    let size = app.store.size().await;
    let gauges = Gauges {
        mails: mails.ok(),
        webhooks: webhooks
            .iter()
            .map(|counts| webhook_metrics(counts, now))
            .collect(),
        queued_hashes: app.passwords.queue_length(),
        hash_queue_capacity: app.passwords.queue_capacity(),
        database_bytes: size.database_bytes,
        clock_offset: app.store.clock_offset(),
        log_bytes: size.log_bytes,
        ceilings: Ceiling::ALL
            .map(|ceiling| ceiling_metrics(app, ceiling))
            .to_vec(),
    };
    let text = app.metrics.text(labels, &gauges);
    Ok(reply::with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text.into(),
    ))
}
