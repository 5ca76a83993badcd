//! Requests to a provider: sent within the limits of the client, counted, and read as JSON.

use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::Serializer;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ProviderTools;
use super::error::{ProviderError, shown};
use crate::domain::ProviderKind;
use crate::observability::error_chain;
use crate::observability::metrics::{Metrics, ProviderOutcome};
use crate::outbound::{BodyEnd, Client, EndpointUrl, OutboundRequest};

/// Sends requests to one provider.
pub(super) struct Requests {
    kind: ProviderKind,
    client: Arc<Client>,
    metrics: Arc<Metrics>,
}

/// A complete answer.
pub(super) struct Reply {
    /// What was asked, for errors: never with a query.
    what: String,
    pub(super) status: u16,
    body: Bytes,
}

impl Requests {
    pub(super) fn new(kind: ProviderKind, tools: &ProviderTools) -> Self {
        Self {
            kind,
            client: Arc::clone(&tools.client),
            metrics: Arc::clone(&tools.metrics),
        }
    }

    /// Gets a resource as JSON.
    pub(super) async fn get(&self, url: &EndpointUrl) -> Result<Reply, ProviderError> {
        let request = OutboundRequest::get(url.clone());
        self.send(url, request.header("accept", "application/json"))
            .await
    }

    /// Gets a resource of the user whose access token this is.
    pub(super) async fn get_as(
        &self,
        url: &EndpointUrl,
        access_token: &str,
    ) -> Result<Reply, ProviderError> {
        let request = OutboundRequest::get(url.clone())
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {access_token}"));
        self.send(url, request).await
    }

    /// Posts a form, with the value of `Authorization` where there is one.
    pub(super) async fn post(
        &self,
        url: &EndpointUrl,
        fields: &[(&str, &str)],
        authorization: Option<String>,
    ) -> Result<Reply, ProviderError> {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = "application/x-www-form-urlencoded";
        let mut request = OutboundRequest::post(url.clone(), form, body.into())
            .header("accept", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        self.send(url, request).await
    }

    async fn send(
        &self,
        url: &EndpointUrl,
        request: OutboundRequest,
    ) -> Result<Reply, ProviderError> {
        let what = url
            .as_str()
            .split('?')
            .next()
            .unwrap_or_default()
            .to_owned();
        // The future of a request is large.
        let sent = Box::pin(self.client.send(&request)).await;
        let (outcome, reply) = match sent {
            Err(e) => {
                let reason = format!("{what}: {}", error_chain(&e));
                (ProviderOutcome::Failed, Err(reason))
            }
            Ok(answer) => match answer.body_end() {
                BodyEnd::Complete => {
                    let status = answer.status();
                    let outcome = match status {
                        200..=299 => ProviderOutcome::Answered,
                        400..=499 => ProviderOutcome::Refused,
                        _ => ProviderOutcome::Failed,
                    };
                    let body = answer.body().clone();
                    (outcome, Ok(Reply { what, status, body }))
                }
                end => {
                    let problem = match end {
                        BodyEnd::TooLong => "is too long",
                        BodyEnd::TimedOut => "did not arrive in time",
                        _ => "broke off",
                    };
                    (
                        ProviderOutcome::Failed,
                        Err(format!("{what}: its answer {problem}")),
                    )
                }
            },
        };
        self.metrics.count_provider_request(self.kind, outcome);
        reply.map_err(ProviderError::unavailable)
    }
}

impl Reply {
    /// The body of an answer 200.
    pub(super) fn ok(&self) -> Result<&Bytes, ProviderError> {
        match self.status {
            200 => Ok(&self.body),
            300..=399 => Err(self.wrong(&format!(
                "answers {} and leads elsewhere, which is not followed",
                self.status
            ))),
            status => Err(self.wrong(&format!("answers {status}"))),
        }
    }

    /// The JSON of an answer 200.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        let body = self.ok()?;
        serde_json::from_slice(body).map_err(|e| self.wrong(&format!("has unusable JSON: {e}")))
    }

    /// The JSON of an answer with any status; `None` when it has none.
    pub(super) fn any_json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What is wrong with the answer.
    pub(super) fn wrong(&self, problem: &str) -> ProviderError {
        ProviderError::unavailable(format!("{}: it {}", self.what, shown(problem)))
    }

    /// The JSON object of the token endpoint (RFC 6749, section 5).
    ///
    /// # Errors
    /// Also when it is an error, which GitHub sends with status 200.
    pub(super) fn tokens(&self) -> Result<Value, ProviderError> {
        let Some(answer) = self.any_json() else {
            self.ok()?;
            return Err(self.wrong("has an answer that is not JSON"));
        };
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            let description = answer.get("error_description").and_then(Value::as_str);
            return Err(ProviderError::of_token_endpoint(error, description));
        }
        self.ok()?;
        Ok(answer)
    }
}
