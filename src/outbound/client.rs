//! The client: checked addresses, one request and its answer, all within one time limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::address::{is_in, special_purpose};
use super::answer::{Answer, BodyEnd};
use super::error::{OutboundError, Step};
use super::pool::{Connection, Pool};
use super::resolver::{Resolver, SystemResolver};
use super::tls::{TlsSetupError, client_config};
use super::url::{EndpointHost, EndpointUrl};

/// What servers see as the client.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("accounts-server/", env!("CARGO_PKG_VERSION")));

/// How long one address may take to accept a connection before the next one is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Most bytes of an answer's status and headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What bounds a request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Longest time from the lookup of the name to the last byte.
    pub time: Duration,
    /// Most bytes of a body that are read.
    pub body_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(15),
            body_bytes: 64 * 1024,
        }
    }
}

/// The parts of a [`Client`].
pub struct ClientOptions {
    /// Networks that may be connected to although they are not public, also without encryption.
    pub allow_networks: Vec<IpNet>,
    /// A PEM file of certificates that are trusted beside those of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolver>,
    /// What bounds a request.
    pub limits: ClientLimits,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            ca_file: None,
            resolver: Arc::new(SystemResolver),
            limits: ClientLimits::default(),
        }
    }
}

/// A request to another server.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    method: Method,
    url: EndpointUrl,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    is_repeatable: bool,
}

impl OutboundRequest {
    /// A GET request.
    pub fn get(url: EndpointUrl) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            is_repeatable: true,
        }
    }

    /// A POST request. It is sent once only, unless it is [`Self::repeatable`].
    pub fn post(url: EndpointUrl, content_type: &str, body: Bytes) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: vec![("content-type", content_type.to_owned())],
            body,
            is_repeatable: false,
        }
    }

    /// Adds a header. Its name is in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Allows a second try where a reused connection is closed without an answer: the server may
    /// have closed it before the request arrived, or else receives the request twice.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Whether it can be sent as it is.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn is_sendable(&self) -> bool {
        self.to_http().is_ok()
    }

    fn to_http(&self) -> Result<Request<Full<Bytes>>, OutboundError> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        let invalid = |e: http::Error| OutboundError::Request(e);
        let host = HeaderValue::from_str(self.url.authority()).map_err(|e| invalid(e.into()))?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, AGENT);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).map_err(|e| invalid(e.into()))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.url.target())
            .body(Full::new(self.body.clone()))
            .map_err(invalid)?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Sends requests to other servers. It is shared, and keeps connections for the next request.
pub struct Client {
    allow_networks: Vec<IpNet>,
    tls: TlsConnector,
    resolver: Arc<dyn Resolver>,
    limits: ClientLimits,
    pool: Arc<Pool>,
}

impl Client {
    /// A client with these options.
    ///
    /// # Errors
    /// When the file with certificates cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, TlsSetupError> {
        let mut tls: ClientConfig = (*client_config(options.ca_file.as_deref())?).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            allow_networks: options.allow_networks,
            tls: TlsConnector::from(Arc::new(tls)),
            resolver: options.resolver,
            limits: options.limits,
            pool: Arc::default(),
        })
    }

    /// Checks whether requests to this URL are allowed now, without a connection.
    ///
    /// # Errors
    /// When the name cannot be resolved or an address is not allowed.
    pub async fn check(&self, url: &EndpointUrl) -> Result<(), OutboundError> {
        let deadline = pin!(sleep(self.limits.time));
        self.within(deadline, Step::Connect, self.addresses(url))
            .await
            .map(|_| ())
    }

    /// Sends a request and reads its answer, whatever the status. Redirects are not followed.
    ///
    /// An answer whose body does not end in time is returned with what has arrived of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: &OutboundRequest) -> Result<Answer, OutboundError> {
        let mut deadline = pin!(sleep(self.limits.time));
        let origin = request.url.origin();
        loop {
            let kept = self.pool.take(origin);
            let is_reused = kept.is_some();
            let mut connection = if let Some(connection) = kept {
                connection
            } else {
                let connecting = self.connect(&request.url);
                self.within(deadline.as_mut(), Step::Connect, connecting)
                    .await?
            };
            let exchange = async { Ok(exchange(&mut connection, request.to_http()?).await) };
            let outcome = self
                .within(deadline.as_mut(), Step::Answer, exchange)
                .await?;
            let response = match outcome {
                Ok(response) => response,
                Err(Lost { was_sent, error }) => {
                    let error = OutboundError::http(error);
                    let is_lost = matches!(error, OutboundError::Closed);
                    if is_reused && is_lost && (!was_sent || request.is_repeatable) {
                        continue;
                    }
                    return Err(error);
                }
            };
            let (head, mut incoming) = response.into_parts();
            let (body, end) = self.read(&mut incoming, deadline.as_mut()).await;
            if end == BodyEnd::Complete {
                self.pool.put(origin, connection);
            }
            return Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
                end,
            });
        }
    }

    /// The addresses of a URL, all of which are allowed.
    async fn addresses(&self, url: &EndpointUrl) -> Result<Vec<IpAddr>, OutboundError> {
        let addresses = match url.host() {
            EndpointHost::Address(ip) => vec![*ip],
            EndpointHost::Name(name) => self
                .resolver
                .resolve(name)
                .await
                .map_err(OutboundError::Unresolvable)?,
        };
        if addresses.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "it has no address");
            return Err(OutboundError::Unresolvable(none));
        }
        for address in &addresses {
            let address = *address;
            if is_in(&self.allow_networks, address) {
                continue;
            }
            if let Some(purpose) = special_purpose(address) {
                return Err(OutboundError::NotPublic { address, purpose });
            }
            if !url.is_https() {
                return Err(OutboundError::NotEncrypted(address));
            }
        }
        Ok(addresses)
    }

    /// Opens a connection to the first address that accepts one.
    async fn connect(&self, url: &EndpointUrl) -> Result<Connection, OutboundError> {
        let mut failure = None;
        for address in self.addresses(url).await? {
            let address = SocketAddr::new(address, url.port());
            let connected = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(tcp) => return self.prepare(url, address, tcp).await,
                Err(source) => failure = Some(OutboundError::Connect { address, source }),
            }
        }
        Err(failure.expect("there is at least one address"))
    }

    async fn prepare(
        &self,
        url: &EndpointUrl,
        address: SocketAddr,
        tcp: TcpStream,
    ) -> Result<Connection, OutboundError> {
        // A request is one or two small writes that wait for their answer.
        tcp.set_nodelay(true)
            .map_err(|source| OutboundError::Connect { address, source })?;
        if !url.is_https() {
            return start(tcp).await;
        }
        let tls = self.tls.connect(url.server_name(), tcp).await;
        start(tls.map_err(|source| OutboundError::tls(address, source))?).await
    }

    /// Reads a body up to the limits.
    async fn read(
        &self,
        incoming: &mut Incoming,
        mut deadline: Pin<&mut Sleep>,
    ) -> (Bytes, BodyEnd) {
        let mut body = BytesMut::new();
        let end = loop {
            let frame = tokio::select! {
                biased;
                frame = incoming.frame() => frame,
                () = &mut deadline => break BodyEnd::TimedOut,
            };
            let data = match frame {
                None => break BodyEnd::Complete,
                Some(Err(_)) => break BodyEnd::Broken,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let room = self.limits.body_bytes - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                break BodyEnd::TooLong;
            }
        };
        (body.freeze(), end)
    }

    /// Waits for a step until the deadline.
    async fn within<T>(
        &self,
        deadline: Pin<&mut Sleep>,
        step: Step,
        future: impl Future<Output = Result<T, OutboundError>>,
    ) -> Result<T, OutboundError> {
        tokio::select! {
            biased;
            outcome = future => outcome,
            () = deadline => Err(OutboundError::Timeout {
                step,
                limit: self.limits.time,
            }),
        }
    }
}

/// A failed exchange.
struct Lost {
    /// Whether the server may have received the request.
    was_sent: bool,
    error: hyper::Error,
}

/// Sends a request and waits for status and headers of the answer.
async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Lost> {
    let sender = &mut connection.sender;
    // The end of the previous answer may still be on its way to the task of the connection.
    sender.ready().await.map_err(|error| Lost {
        was_sent: false,
        error,
    })?;
    sender
        .try_send_request(request)
        .await
        .map_err(|mut e| Lost {
            was_sent: e.take_message().is_none(),
            error: e.into_error(),
        })
}

/// Starts HTTP/1.1 on an open connection.
async fn start<S>(stream: S) -> Result<Connection, OutboundError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = http1::Builder::new()
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(2 * MAX_HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(OutboundError::http)?;
    let driver = tokio::spawn(async move {
        // The request fails with the same error.
        let _ = driver.await;
    });
    Ok(Connection::new(sender, driver.abort_handle()))
}
