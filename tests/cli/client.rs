//! An HTTP client for many threads that returns `None` when the server is gone.

use std::io::Cursor;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PASSWORD;

/// Status and body of an answer; `None` without one.
pub type Answer = Option<(u16, Value)>;

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    agent: ureq::Agent,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_mins(1)))
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .build()
            .new_agent();
        Self { address, agent }
    }

    /// Sends JSON to a path below `/api/v1/accounts/`.
    pub fn api(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let path = format!("/api/v1/accounts/{path}");
        self.send(
            method,
            &path,
            token,
            "application/json",
            body.to_string().as_bytes(),
        )
    }

    /// Uploads a photo for the account of the token.
    pub fn upload(&self, token: &str, photo: &[u8]) -> Answer {
        let mut body =
            b"--edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"me.png\"\r\n\
                         Content-Type: image/png\r\n\r\n"
                .to_vec();
        body.extend_from_slice(photo);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        let kind = "multipart/form-data; boundary=edge";
        self.send(
            "PATCH",
            "/api/v1/accounts/users/me/",
            Some(token),
            kind,
            &body,
        )
    }

    /// Sends a request to any path.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        content_type: &str,
        body: &[u8],
    ) -> Answer {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", content_type);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = self.agent.run(request.body(body).unwrap()).ok()?;
        let text = response.body_mut().read_to_vec().ok()?;
        let value = serde_json::from_slice(&text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned()));
        Some((response.status().as_u16(), value))
    }

    pub fn sign_up(&self, email: &str) -> Answer {
        let body = json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD});
        self.api("POST", "users/", None, &body)
    }

    /// Signs in and returns the access token.
    pub fn sign_in(&self, email: &str, password: &str) -> Option<String> {
        let body = json!({"email": email, "password": password});
        let (status, pair) = self.api("POST", "token/", None, &body)?;
        (status == 200).then(|| pair["access"].as_str().unwrap().to_owned())
    }
}

/// A small picture, different for each number.
pub fn picture(number: u8) -> Vec<u8> {
    let pixels = image::RgbImage::from_fn(24, 24, |x, y| {
        let shade = |n: u32| u8::try_from((n * 8 + u32::from(number) * 31) % 256).unwrap();
        image::Rgb([shade(x), shade(y), number])
    });
    let mut png = Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}
